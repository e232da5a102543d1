# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read the rooms of the package from the architecture page, and their modules from the sources."""

import ast
import re
from pathlib import Path

from docutils.parsers.rst import Directive

__all__ = ['Modules', 'read_modules', 'read_rooms']

ROOT = Path(__file__).parents[1]
PAGE = ROOT / 'docs' / 'development' / 'architecture.rst'


def read_rooms():
    """Return the names of the rooms, from top to bottom, as the architecture page lists them."""
    return re.findall(r'^   \* - ``(\w+)``$', PAGE.read_text(encoding='utf-8'), re.MULTILINE)


def read_modules(room):
    """Return the first sentence of each module and folder of a room, by its path in the room."""
    room = ROOT / 'astro_morph' / room
    modules = {}
    for path in sorted(room.rglob('*.py'), key=lambda path: (path.parent, path.name)):
        name = path.relative_to(room).as_posix().removesuffix('__init__.py')
        if name:
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
            modules[name] = ' '.join(docstring.partition('\n\n')[0].split())
    return modules


class Modules(Directive):
    """List the modules of all rooms, each with its first sentence."""

    def run(self):
        lines = []
        for room in read_rooms():
            lines += [f'``{room}/``', '']
            for path, summary in read_modules(room).items():
                # A name in single backticks would become a link.
                summary = re.sub(r'(?<!`)`(?!`)', '``', summary)
                lines += [f'  ``{path}``', f'    {summary}']
            lines.append('')
        self.state_machine.insert_input(lines, str(PAGE))
        return []
