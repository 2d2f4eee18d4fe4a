"""Write the JSON schemas of params.yaml and of the papers' YAML."""

from argparse import ArgumentParser, Namespace

from captionrl.commands import arguments

EXAMPLE = "captionrl schema --out workflow/schemas"


def add_arguments(parser: ArgumentParser) -> None:
    arguments.paths(parser, out="the directory")


def run(args: Namespace) -> None:
    from captionrl.config import Paper, Params
    from captionrl.files import write_json

    for model in (Params, Paper):
        write_json(args.out / f"{model.__name__.lower()}.schema.json", model.model_json_schema())
