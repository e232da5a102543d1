# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What a release states about itself: its version, metadata, supported Python, and paper."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import setuptools_scm
import yaml

ROOT = Path(__file__).parents[2]
PYPROJECT = ROOT / 'pyproject.toml'

if not PYPROJECT.exists():
    pytest.skip('the sources are not a checkout', allow_module_level=True)

METADATA = tomllib.loads(PYPROJECT.read_text('utf-8'))['project']
AUTHORS = [author['name'] for author in METADATA['authors']]
PYTHONS = [
    name.rpartition(' ')[2]
    for name in METADATA['classifiers']
    if re.fullmatch(r'Programming Language :: Python :: 3\.\d+', name)
]

# Imports, outside functions, of modules that Windows lacks: it could not import that file.
IMPORTS_POSIX = re.compile(
    r'^(import|from) (fcntl|grp|posix|pty|pwd|resource|syslog|termios|tty)\b', re.MULTILINE
)


def read(name):
    return (ROOT / name).read_text('utf-8')


@pytest.mark.parametrize(
    ('name', 'key', 'expected'),
    [
        ('CITATION.cff', 'title', 'astro_morph'),
        ('CITATION.cff', 'abstract', METADATA['description']),
        ('CITATION.cff', 'authors', [{'name': name} for name in AUTHORS]),
        ('CITATION.cff', 'keywords', METADATA['keywords']),
        ('CITATION.cff', 'license', METADATA['license']),
        ('codemeta.json', 'name', 'astro_morph'),
        ('codemeta.json', 'description', METADATA['description']),
        ('codemeta.json', 'author', [{'@type': 'Organization', 'name': name} for name in AUTHORS]),
        ('codemeta.json', 'keywords', METADATA['keywords']),
        ('codemeta.json', 'license', f'https://spdx.org/licenses/{METADATA["license"]}'),
        ('codemeta.json', 'runtimePlatform', f'Python {METADATA["requires-python"]}'),
        ('.zenodo.json', 'title', 'astro_morph'),
        ('.zenodo.json', 'description', METADATA['description']),
        ('.zenodo.json', 'creators', [{'name': name} for name in AUTHORS]),
        ('.zenodo.json', 'keywords', METADATA['keywords']),
        ('.zenodo.json', 'license', METADATA['license']),
    ],
)
def test_metadata_are_those_of_pyproject(name, key, expected):
    # YAML includes JSON.
    assert yaml.safe_load(read(name))[key] == expected


@pytest.mark.parametrize('name', ['CITATION.cff', 'codemeta.json', '.zenodo.json'])
def test_version_stands_in_no_file(name):
    assert {'version', 'softwareVersion'}.isdisjoint(yaml.safe_load(read(name)))
    assert 'version' not in METADATA


class TestVersion:
    """The version of copies of the sources, as builds read it."""

    @staticmethod
    @pytest.fixture
    def folder(tmp_path):
        """A folder with the settings of the build, outside any repository."""
        for name in ('pyproject.toml', '.git_archival.txt', '.gitattributes'):
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
        return tmp_path

    @staticmethod
    def version(folder):
        settings = tomllib.loads(read('pyproject.toml'))['tool']['setuptools_scm']
        return setuptools_scm.get_version(folder, **settings)

    @staticmethod
    def git(folder, *arguments):
        author = '-c user.name=Nobody -c user.email=nobody@example.org -c commit.gpgsign=false'
        subprocess.run(
            ['git', '-C', str(folder), *author.split(), *arguments], check=True, capture_output=True
        )

    def commit(self, folder):
        self.git(folder, 'init')
        self.git(folder, 'add', '.')
        self.git(folder, 'commit', '-m', 'First')

    # The build warns that neither git nor an archive says the version.
    @pytest.mark.filterwarnings('ignore::UserWarning')
    def test_of_a_copy_without_history(self, folder):
        assert self.version(folder) == '0.1.0.dev0'

    def test_of_a_clone_without_tags(self, folder):
        self.commit(folder)
        assert re.fullmatch(r'0\.1\.0\.dev1\+g[0-9a-f]+', self.version(folder))

    def test_of_a_tag_and_after_it(self, folder):
        self.commit(folder)
        self.git(folder, 'tag', 'v1.2.3')
        assert self.version(folder) == '1.2.3'
        self.git(folder, 'commit', '--allow-empty', '-m', 'Second')
        assert re.fullmatch(r'1\.2\.4\.dev1\+g[0-9a-f]+', self.version(folder))

    def test_of_the_archive_of_a_tag(self, folder, tmp_path_factory):
        self.commit(folder)
        self.git(folder, 'tag', 'v1.2.3')
        unpacked = tmp_path_factory.mktemp('archive')
        self.git(folder, 'archive', '--output', str(unpacked / 'archive.tar'), 'v1.2.3')
        subprocess.run(['tar', 'xf', 'archive.tar'], cwd=unpacked, check=True)
        assert self.version(unpacked) == '1.2.3'

    def test_of_a_source_distribution(self, folder):
        # MANIFEST.in leaves it out.
        (folder / '.git_archival.txt').unlink()
        lines = 'Metadata-Version: 2.4', 'Name: astro-morph', 'Version: 1.2.3', ''
        (folder / 'PKG-INFO').write_text('\n'.join(lines))
        assert self.version(folder) == '1.2.3'


@pytest.mark.parametrize(
    ('name', 'pattern'),
    [
        ('tox.ini', r'py\{([\d,]+)\}-test'),
        ('.github/workflows/ci.yml', r'python: \[(.+)\]'),
    ],
)
def test_each_supported_python_is_tested(name, pattern):
    listed = re.search(pattern, read(name))[1].replace('.', '')
    assert re.findall(r'\d+', listed) == [version.replace('.', '') for version in PYTHONS]


class TestPaper:
    """The paper is a draft: what it cites and the figures it takes over are checked."""

    def test_cites_all_of_its_references_and_no_others(self):
        cited = {*re.findall(r'@(\w+)', read('paper/paper.md'))}
        assert cited == {*re.findall(r'^@\w+\{(\w+),', read('paper/paper.bib'), re.MULTILINE)}

    def test_figures_are_those_of_the_documentation(self):
        known = read('README.rst') + read('docs/performance/figures.rst')
        figures = re.findall(
            r'\d+\.\d+|\d+ (?:%|MB)', read('paper/paper.md').split('# Research')[1]
        )
        numbers = {figure.split()[0] for figure in figures}
        assert len(numbers) > 10
        assert numbers - {*re.findall(r'\d+(?:\.\d+)?', known)} == set()

    def test_commands_are_there(self):
        scripts = re.findall(r'python (benchmarks/\w+\.py)', read('paper/paper.md'))
        assert [script for script in scripts if not (ROOT / script).exists()] == []


def test_modules_can_be_imported_where_posix_is_not():
    offenders = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / 'astro_morph').rglob('*.py')
        if IMPORTS_POSIX.search(path.read_text('utf-8'))
    ]
    assert offenders == []
