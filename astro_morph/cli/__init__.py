# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Run the command line ``astro-morph``: parse the arguments, start the task, report errors."""

import argparse
import sys

from astro_morph.cli import annotate, cache, demo, evaluate, export, fetch, fit, label, pretrain
from astro_morph.utils.messages import on_command_line

__all__ = ['main', 'make_parser']

TASKS = {
    'demo': demo,
    'fetch': fetch,
    'pretrain': pretrain,
    'fit': fit,
    'label': label,
    'annotate': annotate,
    'evaluate': evaluate,
    'export': export,
    'cache': cache,
}

# The exit code of a command that Ctrl-C has ended, as in shells.
INTERRUPTED = 130


def main(arguments=None):
    """
    Run the command line.

    Parameters
    ----------
    arguments : list of str, default=None
        The arguments; by default those of the process.

    Returns
    -------
    code : int
        0 after success, 1 after an error that the user can correct, 130 after Ctrl-C.
    """
    arguments = make_parser().parse_args(arguments)
    from astro_morph.cutouts import OutageError

    try:
        with on_command_line(arguments.options):
            arguments.task(arguments)
    except (ImportError, OSError, OutageError, ValueError) as error:
        message = str(error).partition('\n')[0] or repr(error)
        print(f'astro-morph: {message}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        advice = '; use --resume to continue' if 'resume' in arguments else ''
        print(
            f'astro-morph: interrupted; the images fetched so far are kept{advice}',
            file=sys.stderr,
        )
        return INTERRUPTED
    return 0


def make_parser():
    """
    Build the parser of all tasks.

    Returns
    -------
    parser : `argparse.ArgumentParser`
        The parser. It sets ``task``, the function to call, and ``options``, which maps each
        argument to its option.
    """
    from astro_morph import __version__

    parser = argparse.ArgumentParser(
        prog='astro-morph', description='Label the galaxies of a survey catalogue by morphology.'
    )
    parser.add_argument('--version', action='version', version=__version__)
    tasks = parser.add_subparsers(required=True, metavar='task')
    for name, module in TASKS.items():
        command = tasks.add_parser(
            name,
            parents=module.SHARED,
            help=module.__doc__,
            description=module.__doc__,
            epilog=f'example:\n  astro-morph {name} {module.EXAMPLE}',
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        # Positional arguments have no option, but a name in the help.
        options = {
            action.dest: (action.option_strings or [action.metavar or action.dest])[0]
            for action in command._actions
        }
        command.set_defaults(task=module.main, options=options)
    return parser
