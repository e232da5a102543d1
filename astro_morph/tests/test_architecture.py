# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The architecture: imports between rooms point downward, and rooms stay small."""

import ast
import re
import runpy
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import astro_morph

PACKAGE = Path(astro_morph.__file__).parent
DOCS = PACKAGE.parent / 'docs'

# What a room may import from the root of the package.
FROM_ROOT = {'__version__', 'conf'}

MOST_ENTRIES = 18
MOST_FILES = 12
LARGEST_FRACTION = 1 / 5


@pytest.fixture(scope='module')
def reader():
    """The functions of the documentation that read the architecture page."""
    if not (DOCS / 'rooms.py').exists():
        pytest.skip('the sources are not a checkout')
    return runpy.run_path(str(DOCS / 'rooms.py'))


@pytest.fixture(scope='module')
def rooms(reader):
    """The names of the rooms, from top to bottom, as the architecture page lists them."""
    return reader['read_rooms']()


def find_rooms(package):
    """Return the names of the folders with modules, without the tests."""
    return {path.parent.name for path in package.glob('*/__init__.py')} - {'tests'}


def find_modules(package):
    """Return the path of each module by its full name, without the tests."""
    modules = {}
    for path in sorted(package.rglob('*.py')):
        parts = path.relative_to(package.parent).with_suffix('').parts
        if parts[1] != 'tests':
            modules['.'.join(parts).removesuffix('.__init__')] = path
    return modules


def find_imports(path, modules):
    """
    Return the imports of a file from the package: line, module, name, whether at module level.

    A string that is a module's name counts: some doors import by name on first use.
    """
    nodes = list(ast.walk(ast.parse(path.read_text(encoding='utf-8'))))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    in_functions = {child for node in functions for child in ast.walk(node)}
    found = []
    for node in nodes:
        targets = []
        if isinstance(node, ast.Import):
            # What is taken from `import astro_morph` shows where it is used.
            targets = [(item.name, None) for item in node.names if item.name != 'astro_morph']
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == 'astro_morph':
            targets = [('astro_morph', node.attr)]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{path}:{node.lineno}: write the full name of the module'
            targets = [(node.module, item.name) for item in node.names]
        elif isinstance(node, ast.Constant) and node.value in modules.keys() - {'astro_morph'}:
            targets = [(node.value, None)]
        for module, name in targets:
            if f'{module}.{name}' in modules:
                module, name = f'{module}.{name}', None
            if module.partition('.')[0] == 'astro_morph':
                at_module_level = node not in in_functions and not isinstance(node, ast.Constant)
                found.append((node.lineno, module, name, at_module_level))
    return found


def room_of(module, rooms):
    """Return the room of a module, or an empty string for a module of the root."""
    name = module.split('.')[1:2]
    return name[0] if name and name[0] in rooms else ''


def wrong_imports(package, rooms):
    """Return a message for each import from a room above, or from the root of the package."""
    modules = find_modules(package)
    found = []
    for module, path in modules.items():
        room = room_of(module, rooms)
        if not room:
            continue
        for line, target, name, _ in find_imports(path, modules):
            above = room_of(target, rooms)
            if not above and name not in FROM_ROOT:
                problem = f'{room} imports {name or target} from the root of the package'
            elif above and rooms.index(above) < rooms.index(room):
                problem = f'{room} imports {target}, but {above} is a room above {room}'
            else:
                continue
            found.append(f'{path.relative_to(package.parent)}:{line}: {problem}')
    return found


def cycles(package, rooms):
    """Return a message for each room whose modules import each other in a circle."""
    modules = find_modules(package)
    found = []
    for room in rooms:
        inside = [module for module in modules if f'{module}.'.startswith(f'astro_morph.{room}.')]
        graph = {
            module: {
                target
                for _, target, _, at_module_level in find_imports(modules[module], modules)
                if at_module_level and target in inside
            }
            for module in inside
        }
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            found.append(f'{room}: ' + ' is imported by '.join(error.args[1]))
    return found


def test_architecture_page_lists_the_rooms(rooms):
    assert len(rooms) == len({*rooms})
    assert {*rooms} == find_rooms(PACKAGE)


def test_architecture_picture_shows_the_modules(reader, rooms):
    picture = (DOCS / '_static' / 'architecture.svg').read_text(encoding='utf-8')
    modules = {
        path if path.endswith('/') else Path(path).stem
        for room in rooms
        for path in reader['read_modules'](room)
    }
    shown = {*re.findall(r'>([^<>]+)</text>', picture)}
    assert shown == modules | {*rooms}, 'run python tools/draw_figures.py docs/_static'


def test_data_flow_page_names_what_there_is():
    if not DOCS.exists():
        pytest.skip('the sources are not a checkout')
    page = (DOCS / 'development' / 'data_flow.rst').read_text(encoding='utf-8')
    missing = [
        path for path in re.findall(r'``([\w/]+\.py)``', page) if not (PACKAGE / path).exists()
    ]
    assert not missing
    rows = re.findall(r'^     - ``([\w/]+\.py)``\n     - (.+)$', page, re.MULTILINE)
    assert rows
    for path, names in rows:
        code = (PACKAGE / path).read_text(encoding='utf-8')
        for name in re.findall(r'``(\w+)``', names):
            assert re.search(rf'^(def|class) {name}\b', code, re.MULTILINE), f'{path}: {name}'


def test_imports_point_downward(rooms):
    found = wrong_imports(PACKAGE, rooms)
    assert not found, '\n'.join(found)


def test_no_room_has_a_cycle():
    found = cycles(PACKAGE, sorted(find_rooms(PACKAGE)))
    assert not found, '\n'.join(found)


def test_root_has_few_entries():
    entries = sorted(
        path.name for path in PACKAGE.iterdir() if not path.name.startswith(('.', '__pycache__'))
    )
    assert len(entries) <= MOST_ENTRIES, entries


def test_folders_have_few_files():
    files = Counter(path.parent for path in find_modules(PACKAGE).values())
    crowded = {str(folder): n for folder, n in files.items() if n > MOST_FILES}
    assert not crowded, crowded


def test_no_room_is_large():
    lines = Counter()
    for path in find_modules(PACKAGE).values():
        room = path.relative_to(PACKAGE).parts[0]
        lines[room] += len(path.read_text(encoding='utf-8').splitlines())
    large = {
        room: f'{n / lines.total():.1%}'
        for room, n in lines.items()
        if n > LARGEST_FRACTION * lines.total()
    }
    assert not large, large


def test_tests_mirror_the_rooms():
    folders = {path.parent.name for path in (PACKAGE / 'tests').glob('*/__init__.py')}
    assert folders == find_rooms(PACKAGE)


@pytest.fixture
def house(tmp_path):
    """A package of two rooms, of which the first may import from the second."""
    for room in ('upper', 'lower'):
        folder = tmp_path / 'astro_morph' / room
        folder.mkdir(parents=True)
        (folder / '__init__.py').touch()
        (folder / 'one.py').touch()
        (folder / 'two.py').touch()
    (tmp_path / 'astro_morph' / '__init__.py').touch()
    return tmp_path / 'astro_morph'


@pytest.mark.parametrize(
    'code',
    [
        'import astro_morph.upper.one',
        'from astro_morph.upper import one',
        'from astro_morph.upper.one import thing',
        'from astro_morph import upper',
        'def function():\n    from astro_morph.upper.one import thing',
        "HOMES = {'thing': 'astro_morph.upper.one'}",
    ],
)
def test_import_that_points_up_is_found(house, code):
    (house / 'lower' / 'one.py').write_text(code)
    (message,) = wrong_imports(house, ['upper', 'lower'])
    assert re.match(r'astro_morph.lower.one\.py:\d: lower imports astro_morph\.upper', message)


@pytest.mark.parametrize(
    'code', ['from astro_morph import CutoutSet', 'import astro_morph\nastro_morph.CutoutSet']
)
def test_import_from_the_root_is_found(house, code):
    (house / 'lower' / 'one.py').write_text(code)
    (message,) = wrong_imports(house, ['upper', 'lower'])
    assert message.endswith('lower imports CutoutSet from the root of the package')


def test_import_that_points_down_is_allowed(house):
    code = 'import astro_morph.lower\nfrom astro_morph import conf\nastro_morph.__version__'
    (house / 'upper' / 'one.py').write_text(code)
    assert wrong_imports(house, ['upper', 'lower']) == []


def test_cycle_is_found(house):
    (house / 'lower' / 'one.py').write_text('from astro_morph.lower import two')
    (house / 'lower' / 'two.py').write_text('from astro_morph.lower.one import thing')
    (message,) = cycles(house, ['upper', 'lower'])
    assert message.startswith('lower: ')
    assert 'astro_morph.lower.one is imported by astro_morph.lower.two' in message


def test_import_inside_a_function_makes_no_cycle(house):
    (house / 'lower' / 'one.py').write_text('from astro_morph.lower import two')
    (house / 'lower' / 'two.py').write_text('def function():\n    import astro_morph.lower.one')
    assert cycles(house, ['upper', 'lower']) == []
