"""The command line's parser: LightningCLI's, with an answer to unknown keys."""

from __future__ import annotations

import re
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from jsonargparse import set_parsing_settings
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from leadgrad.attacks import Attack
from leadgrad.pipelines.config.instantiate import ClassPathError, import_problem
from leadgrad.pipelines.config.moved import present
from leadgrad.pipelines.config.plain import OPTIONAL, PlainParser

# Attacks are dataclasses chosen by class; jsonargparse takes dataclasses as fixed otherwise
set_parsing_settings(subclasses_enabled=[Attack])

_INNER = re.compile(
    r"Does not validate against any of the Union subtypes\n.*Errors:\n\s+- ", re.DOTALL
)
"""What jsonargparse says before the reason, of a value in another."""


class Parser(PlainParser, LightningArgumentParser):
    """``PlainParser`` of what LightningCLI takes."""


def built(cls: type, key: str, arguments: Mapping[str, Any]) -> Any:
    """An object of a class from what ``Parser`` once made of a configuration.

    Args:
        cls: The class.
        key: Where the configuration has it.
        arguments: Its arguments, classes as ``{class_path, init_args}``.

    Raises:
        ClassPathError: If a class cannot be imported, or takes other arguments now.
    """
    parser = Parser(exit_on_error=False)
    parser.add_class_arguments(cls, key, sub_configs=True)
    try:
        config = parser.parse_object({key: present(dict(arguments))})
    except ArgumentError as error:
        message = " ".join(str(error).split())
        if import_problem(error) is None:
            message = f"the configuration does not fit its classes; have they changed? {message}"
        raise ClassPathError(message) from error
    except Exception as error:  # of a class's own file, when that was imported
        raise ClassPathError(import_problem(error) or str(error)) from error
    return parser.instantiate(config)[key]


def described(parser: Parser, content: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """A configuration with all defaults, plain; and the objects that it describes, by key.

    Args:
        parser: Knows the keys.
        content: The configuration.
    """
    config = parser.parse_object(dict(content))
    whole: dict[str, Any] = yaml.safe_load(parser.dump(config, skip_unset=False))
    return whole, parser.instantiate(config)


class CLI(LightningCLI):
    """LightningCLI with our parser, taking its arguments as given; it runs nothing by itself.

    Args:
        model: Class of the LightningModule.
        args: The command line.
        trainer_defaults: Arguments of the trainer that are not Lightning's defaults.
        subclasses: Whether the model's subclasses are meant.
    """

    def __init__(
        self,
        model: type[LightningModule],
        args: Sequence[str],
        trainer_defaults: Mapping[str, Any],
        *,
        subclasses: bool = False,
    ) -> None:
        super().__init__(
            model,
            LightningDataModule,
            subclass_mode_model=subclasses,
            subclass_mode_data=True,
            save_config_callback=None,
            trainer_defaults=dict(trainer_defaults),
            seed_everything_default=0,
            run=False,
            auto_configure_optimizers=False,
            args=list(args),
        )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Our parser in place of Lightning's."""
        self.parser_class = Parser
        return super().init_parser(**{**kwargs, "dump_header": None})

    def instantiate_classes(self) -> None:
        """Reports what a class said of its arguments as the class said it."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            if found := OPTIONAL.fullmatch(str(error)):
                raise ValueError(_INNER.sub("", found[1])) from error
            raise

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses without Lightning's warning about a second source of arguments.

        Raises:
            ClassPathError: If the file of a class raises when it is imported.
        """
        try:
            self.config = parser.parse_args(args)
        except Exception as error:
            if problem := import_problem(error):
                raise ClassPathError(problem) from error
            raise
