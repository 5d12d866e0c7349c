"""Who fails says so itself, however fast the others are to end."""

import socket
import threading

from leadgrad.pipelines.processes.peers import Peers


def connected(lost):
    """Two peers of one run, in one process."""
    found, known = {}, threading.Event()
    told = {}

    def exchange(value):
        if value is not None:
            told["value"] = value
            known.set()
        known.wait(60)
        return told["value"]

    def start(rank):
        peer = Peers(rank, 2, lambda gone, how: lost(peer, gone, how))
        found[rank] = peer
        peer.connect("127.0.0.1", exchange)

    threads = [threading.Thread(target=start, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_its_own_news_do_not_end_a_process_that_fails(monkeypatch):
    """The others tell it on, and they may be faster than its next line."""
    heard, echoed = [], threading.Event()

    def lost(peer, gone, how):
        heard.append((peer.rank, gone, how))
        if peer.rank == 0:
            peer.bury(gone, how)

    peers = connected(lost)
    hear, tell = peers[1]._hear, peers[1]._tell

    def hearing(rank, message):
        hear(rank, message)
        echoed.set()

    def telling(message):
        tell(message)
        assert echoed.wait(60), "the other one has told it on"

    monkeypatch.setattr(peers[1], "_hear", hearing)
    monkeypatch.setattr(peers[1], "_tell", telling)
    peers[1].bury(1, "has failed (ValueError)")
    assert heard == [(0, 1, "has failed (ValueError)")]
    ends = [connection for peer in peers.values() for connection in peer._connections.values()]
    for connection in ends:
        connection.shutdown(socket.SHUT_RDWR)
    for thread in threading.enumerate():
        if "_listen" in thread.name:
            thread.join(1)  # listens until its connection ends
    for connection in ends:
        connection.close()
