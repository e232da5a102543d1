# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The pages: what each is for, links within the project, and code that is no doctest."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest

from astro_morph.cli import make_parser

ROOT = Path(__file__).parents[2]
DOCS = ROOT / 'docs'
# Pages that Sphinx generates, and those of other files of the project.
GENERATED = ('api', 'gallery', '_build')
PAGES = {
    page.relative_to(DOCS).with_suffix('').as_posix(): page.read_text(encoding='utf-8')
    for page in sorted(DOCS.rglob('*.rst'))
    if page.relative_to(DOCS).parts[0] not in GENERATED
}
README = ROOT / 'README.rst'
TEXTS = PAGES | ({'README': README.read_text(encoding='utf-8')} if README.exists() else {})

pytestmark = pytest.mark.skipif(not PAGES, reason='the sources are not a checkout')

# The first words of a page, by the page that lists it: what is it for?
FIRST_WORDS = {
    'getting_started': ('This tutorial ', 'This page shows how to '),
    'user_guide': ('This page shows how to ',),
    'how_it_works/index': ('This page explains ',),
    'reference/index': ('This page lists ',),
    'performance/index': ('This page lists ',),
}

# Why blocks of Python are not doctests.
NOT_RUN = {
    'README': 'the package index shows it, without prompts; the front page runs the same calls',
    'beyond': 'takes a cluster, or object storage',
    'clusters': 'runs under torchrun, or on a file of many gigabytes',
    'encoders': 'downloads an encoder',
    'surveys': 'downloads images',
    'which_survey': 'asks for a token',
}


def listed_in(page):
    """Return the names of the pages in the tables of contents of a page."""
    folder = (DOCS / page).parent
    blocks = re.findall(r'\.\. toctree::\n(?:   :.*\n)*\n((?:   \S.*\n)+)', PAGES[page])
    entries = ' '.join(blocks).split()
    return [(folder / entry).resolve().relative_to(DOCS).as_posix() for entry in entries]


def first_paragraph(text):
    """Return the first paragraph below the title, in one line."""
    below = text.split('\n\n', 1)[1] if '\n===' in text.split('\n\n', 1)[0] else text
    return ' '.join(below.strip().split('\n\n')[0].split())


def blocks_of_python(text):
    """Return the blocks of Python that are not doctests, without their indentation."""
    found = re.findall(r'\.\. code-block:: python\n\n((?:(?: +.*)?\n)+)', text)
    return [re.sub(r'^    ', '', block, flags=re.M) for block in found]


class TestWhichPage:
    @pytest.mark.parametrize(
        ('index', 'page'),
        [(index, page) for index in FIRST_WORDS if PAGES for page in listed_in(index)],
    )
    def test_first_line_says_what_the_page_is_for(self, index, page):
        assert first_paragraph(PAGES[page]).startswith(FIRST_WORDS[index])

    def test_each_page_is_listed_once(self):
        listed = [page for index in PAGES for page in listed_in(index)]
        assert sorted(set(listed) - {'gallery/index'}) == sorted(PAGES.keys() - {'index'})
        assert len(listed) == len(set(listed))


class TestLinks:
    """Sphinx checks these too; here they are checked in a moment."""

    @pytest.mark.parametrize('page', PAGES)
    def test_pages_labels_and_pictures_exist(self, page):
        labels = set(re.findall(r'^\.\. _([^:\s]+):$', '\n'.join(PAGES.values()), re.M))
        folder = (DOCS / page).parent
        text = PAGES[page]
        lost = []
        for role, target in re.findall(r':(doc|ref):`(?:[^`<]*<)?([^`>]+)>?`', text):
            if role == 'ref':
                lost += [target] if target not in labels else []
            else:
                start = DOCS if target.startswith('/') else folder
                name = (start / target.lstrip('/')).resolve().relative_to(DOCS).as_posix()
                lost += [target] if name not in PAGES.keys() | {'gallery/index'} else []
        for picture in re.findall(r'\.\. (?:image|figure):: (\S+)', text):
            lost += [picture] if not (folder / picture).exists() else []
        assert not lost

    @pytest.mark.parametrize('page', TEXTS)
    def test_files_of_the_project_exist(self, page):
        # Scripts, examples and modules that a text names.
        names = re.findall(
            r'\b((?:astro_morph|benchmarks|docs|examples|tools)/[\w./]*\w\.\w+)', TEXTS[page]
        )
        assert [name for name in names if not (ROOT / name).exists()] == []

    def test_benchmarks_of_the_results_exist(self):
        names = re.findall(r'``(\w+\.py)\b', PAGES['performance/figures'])
        assert [name for name in names if not (ROOT / 'benchmarks' / name).exists()] == []


class TestCode:
    @pytest.mark.parametrize('page', TEXTS)
    def test_blocks_that_do_not_run_compile_and_import(self, page):
        blocks = blocks_of_python(TEXTS[page])
        assert not blocks or page in NOT_RUN
        for node in ast.walk(ast.parse('\n'.join(blocks))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith('astro_morph'):
                module = importlib.import_module(node.module)
                assert [name.name for name in node.names if not hasattr(module, name.name)] == []

    @pytest.mark.parametrize('page', TEXTS)
    def test_command_lines_parse(self, page):
        text = TEXTS[page].replace('\\\n', ' ')
        lines = re.findall(r'^    (?:.* -m astro_morph|astro-morph) (.*)$', text, re.M)
        for line in lines:
            # Of a job script, only what is not the shell's.
            make_parser().parse_args(shlex.split(re.sub(r' [|&>].*', '', line), comments=True))

    @pytest.mark.parametrize('page', TEXTS)
    def test_no_registry_is_asked_for_the_package(self, page):
        # Until it is published, the packages themselves are named, or the clone: ``".[all]"``.
        assert not re.search(r'pip install [^&\n]*["\' `]astro[-_]morph', TEXTS[page])
