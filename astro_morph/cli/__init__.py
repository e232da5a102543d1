# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Run the command line ``astro-morph``: parse the arguments, start the task, report errors."""

import argparse
import contextlib
import sys
import traceback
import warnings
from functools import partial
from pathlib import Path

import astropy
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.cli import (
    annotate,
    cache,
    demo,
    evaluate,
    export,
    fetch,
    fit,
    label,
    options,
    pretrain,
)
from astro_morph.cli.search import build, find
from astro_morph.utils.messages import in_one_line, on_command_line
from astro_morph.utils.process import exit_code_of, run_as_process

__all__ = ['main', 'make_parser']

TASKS = {
    'demo': demo,
    'fetch': fetch,
    'pretrain': pretrain,
    'fit': fit,
    'label': label,
    'annotate': annotate,
    'evaluate': evaluate,
    'index': build,
    'search': find,
    'export': export,
    'cache': cache,
}

# What messages call arguments that are named otherwise in a task, or for which it has no option.
OTHER_NAMES = {
    'paths': '--source',
    'survey': '--source',
    'encoder': '--encoder',
    'size': 'the size in the model',
}


def main(arguments=None):
    """
    Run the command line.

    Parameters
    ----------
    arguments : list of str, default=None
        The arguments. If None, they are those of the process, which ends with the exit code.

    Returns
    -------
    code : int
        0 after success, 1 after an error, 2 if an argument is wrong, 130 after Ctrl-C, 143 after
        SIGTERM.
    """
    if arguments is None:
        run_as_process(partial(main, sys.argv[1:]))
    arguments = make_parser().parse_args(arguments)
    try:
        with on_command_line(arguments.options), brief_warnings(is_debug=arguments.debug):
            arguments.task(arguments)
            # A full disk is an error of the task.
            print(end='', flush=True)
    except KeyboardInterrupt as interrupt:
        advice = '; use --resume to continue' if 'resume' in arguments else ''
        report(f'interrupted; the images fetched so far are kept{advice}')
        return exit_code_of(interrupt)
    except BrokenPipeError:
        # The reader of the output has ended, as `head` does.
        raise
    except Exception as error:
        if arguments.debug:
            traceback.print_exc()
        report(in_one_line(error))
        return 1
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

    parser = _Parser(
        prog='astro-morph', description='Label the galaxies of a survey catalogue by morphology.'
    )
    parser.add_argument('--version', action='version', version=__version__)
    tasks = parser.add_subparsers(required=True, metavar='task')
    for name, module in TASKS.items():
        command = tasks.add_parser(
            name,
            parents=[*module.SHARED, options.DEBUG],
            help=module.__doc__,
            description=module.__doc__,
            epilog=f'example:\n  astro-morph {name} {module.EXAMPLE}',
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        # Positional arguments have no option, but a name in the help.
        written = {
            action.dest: (action.option_strings or [action.metavar or action.dest])[0]
            for action in command._actions
        }
        command.set_defaults(task=module.main, options={**OTHER_NAMES, **written})
    return parser


def report(text):
    """Print a line on standard error."""
    print(f'astro-morph: {text}', file=sys.stderr)


@contextlib.contextmanager
def brief_warnings(*, is_debug):
    """Print each warning of this package in one line; those of others only if asked."""
    others = Path(astropy.__file__).parent

    def show(message, category, filename, *args):
        is_own = issubclass(category, AstropyUserWarning) and others not in Path(filename).parents
        if is_own or is_debug:
            report(f'warning: {in_one_line(message)}')

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


class _Parser(argparse.ArgumentParser):
    """Parser whose errors are one line, without the usage."""

    def error(self, message):
        self.exit(2, f'{self.prog}: {message}; see {self.prog} --help\n')
