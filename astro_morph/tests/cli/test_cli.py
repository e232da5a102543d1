# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The command line: every task from file to file, and its error messages."""

import contextlib
import dataclasses
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table

from astro_morph import CutoutSet, MorphologyClassifier, MorphologyEncoder, OnnxClassifier, conf
from astro_morph.catalog.flags import BITS
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.cli import demo, main, make_parser
from astro_morph.evaluation import evaluate
from astro_morph.models.torch_model import TorchModel
from astro_morph.prediction.parts import Parts
from astro_morph.simulation import SimulatedSurvey, serve
from astro_morph.simulation.services import faults
from astro_morph.utils.files import check_new

TASKS = [
    'demo',
    'fetch',
    'pretrain',
    'fit',
    'label',
    'annotate',
    'evaluate',
    'index',
    'search',
    'export',
    'cache',
]
PAGE = Path(__file__).parents[3] / 'docs' / 'command_line.rst'
FAST = ['--size', '24', '--encoder', 'random', '--strategy', 'linear', '--quiet']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with a catalogue, its mosaics, a model in both forms and an encoder."""
    folder = tmp_path_factory.mktemp('cli')
    survey = SimulatedSurvey(n_galaxies=24, kinds=['edge_on', 'round'])
    survey.write(folder)
    catalogue = survey.catalogue['ra', 'dec', 'morphology']
    catalogue['morphology'][::4] = ''
    write_table(catalogue, folder / 'survey.fits')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(['fit', 'survey.fits', 'model.pt', '--source', 'sdss-{band}.fits', *FAST]) == 0
        assert main(['export', 'model.onnx', '--model', 'model.pt']) == 0
    encoder = MorphologyEncoder(source=survey, epochs=1, size=24, verbose=0)
    encoder.fit(catalogue).save(folder / 'encoder.pt')
    for name in ('broken.fits', 'broken.vot'):
        (folder / name).write_bytes(b'nothing of the kind')
    write_table(catalogue['morphology',][:9], folder / 'plain.fits')
    far = catalogue[:9]
    far['dec'] = far['dec'] - 30 * u.deg
    write_table(far, folder / 'far.fits')
    (folder / 'page.html').write_text('a report')
    catalogue['morph_class'] = catalogue['morphology']
    write_table(catalogue, folder / 'annotated.fits')
    return folder


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Run a command line in the folder; give code, standard output and standard error."""
    monkeypatch.chdir(folder)

    def run(command):
        code = main(shlex.split(command))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def done(run):
    """Run a command line that is to succeed; give its standard output."""

    def done(command):
        code, output, error = run(command)
        assert code == 0, error
        return output

    return done


def commands_of(text):
    """Find the command lines in a text, those broken by a backslash put together."""
    joined = text.replace('\\\n', ' ')
    return [shlex.split(line)[1:] for line in re.findall(r'^\s+(astro-morph .*)$', joined, re.M)]


class TestHelp:
    @pytest.mark.parametrize('task', TASKS)
    def test_help_of_a_task_ends_with_an_example_that_parses(self, task, capsys):
        with pytest.raises(SystemExit) as exit_:
            main([task, '--help'])
        assert exit_.value.code == 0
        example = capsys.readouterr().out.partition('example:')[2]
        ((name, *arguments),) = commands_of(example)
        assert name == task
        parsed = make_parser().parse_args([name, *arguments])
        modules = {'index': 'search.build', 'search': 'search.find'}
        assert parsed.task.__module__ == f'astro_morph.cli.{modules.get(task, task)}'

    def test_help_lists_the_tasks(self, capsys):
        with pytest.raises(SystemExit):
            main(['--help'])
        listed = re.findall(r'^    (\w+) ', capsys.readouterr().out, re.M)
        assert listed == TASKS

    @pytest.mark.skipif(not PAGE.exists(), reason='the sources are not a checkout')
    def test_commands_of_the_documentation_parse(self):
        commands = commands_of(PAGE.read_text(encoding='utf-8'))
        assert {task for task, *_ in commands} == set(TASKS)
        for arguments in commands:
            make_parser().parse_args(arguments)


@pytest.fixture
def serving(tmp_path, monkeypatch):
    """Serve the sky of the catalogue as CDS would, to an empty cache and without haste."""
    survey = SimulatedSurvey(n_galaxies=24, kinds=['edge_on', 'round'])
    assert len(survey.catalogue) == 24  # rendered before a time-out counts

    @contextlib.contextmanager
    def serving(**options):
        with (
            serve(survey, **options) as server,
            conf.set_temp('cache_file', str(tmp_path / 'cutouts.sqlite')),
            conf.set_temp('requests_per_second', 1000),
        ):
            address = f'{server.url}/hips-image-services/hips2fits'
            monkeypatch.setattr('astro_morph.cutouts.services.hips2fits.SERVERS', (address,))
            yield server

    return serving


class TestFetch:
    COMMAND = 'fetch survey.fits --survey sdss-dr9 --bands g,r,i --size 24 --quiet'

    def test_cutouts_of_a_survey_are_written_with_the_catalogue(self, done, folder, serving):
        with serving() as server:
            said = done(f'{self.COMMAND} --output new/cutouts.h5')
        assert said == '24 of 24 galaxies have an image\n'
        cutouts = CutoutSet.read(folder / 'new/cutouts.h5')
        catalogue = read_table(folder / 'survey.fits')
        assert cutouts.shape == (24, 3, 24, 24)
        assert cutouts.bands == ('g', 'r', 'i')
        assert cutouts.table.colnames == catalogue.colnames
        np.testing.assert_array_equal(cutouts.table['ra'], catalogue['ra'])
        expected = server.sky.fetch(catalogue, size=24).images
        # Centred on the galaxy, not on a pixel: the brightness is the same, its pixels are not.
        np.testing.assert_allclose(
            cutouts.images.sum(axis=(2, 3)), expected.sum(axis=(2, 3)), rtol=0.2, atol=1
        )

    def test_zero_point_of_mosaics(self, done, folder):
        done(
            'fetch survey.fits --source sdss-{band}.fits --size 24 --quiet --output zero.h5 '
            '--zero-point 22.5,22.4,22.3'
        )
        assert CutoutSet.read(folder / 'zero.h5').zero_point.tolist() == [22.5, 22.4, 22.3]

    def test_plan_asks_for_nothing(self, done, folder, serving):
        before = sorted(os.listdir(folder))
        with serving() as server:
            said = done(f'{self.COMMAND} --plan')
            assert not server.requests
        assert re.match(r'24 rows, 0 .* requests', said)
        assert sorted(os.listdir(folder)) == before
        assert (
            done('fetch survey.fits --source sdss-{band}.fits --plan') == 'the images are local\n'
        )

    def test_size_follows_a_column(self, done, folder):
        table = SimulatedSurvey(n_galaxies=24, kinds=['edge_on', 'round']).catalogue
        write_table(table['ra', 'dec', 'petroR90_r'], folder / 'sizes.ecsv')
        done(
            "fetch sizes.ecsv --source sdss-{band}.fits --size '4*petroR90_r' --quiet "
            '--output sizes.h5'
        )
        cutouts = CutoutSet.read(folder / 'sizes.h5')
        assert cutouts.framing == '4 * petroR90_r'
        np.testing.assert_allclose(64 * cutouts.pixel_scale, 4 * table['petroR90_r'])

    def test_interrupted_call_goes_on_from_there(self, done, run, folder, serving, monkeypatch):
        monkeypatch.setattr('astro_morph.cli.fetch.BATCH', 8)
        count = 0

        def interrupt(cutouts, bar, outcome):
            nonlocal count
            for batch in cutouts:
                count += 1
                if count == 2:
                    raise KeyboardInterrupt
                yield batch

        with serving() as server:
            with monkeypatch.context() as patch:
                patch.setattr('astro_morph.cli.fetch.count', interrupt)
                code, output, error = run(f'{self.COMMAND} --output half.h5')
            assert (code, output) == (130, '')
            assert error == 'astro-morph: interrupted; the images fetched so far are kept\n'
            assert not list(folder.glob('*half*'))
            n_requests = len(server.requests)
            done(f'{self.COMMAND} --output half.h5')
            asked = [(r.params['hips'], r.params['ra'], r.params['dec']) for r in server.requests]
        assert 0 < n_requests < len(asked) == len(set(asked))

    def test_outage_is_an_error_of_one_line(self, run, folder, serving, monkeypatch):
        monkeypatch.setattr('astro_morph.cutouts.services.remote.OUTAGE', 2)
        with serving(faults=lambda request: faults.status(503)), conf.set_temp('tries', 1):
            code, output, error = run(f'{self.COMMAND} --output out.h5')
        assert (code, output) == (1, '')
        assert error.startswith('astro-morph: Hips2Fits does not answer')
        assert error.count('\n') == 1
        assert not list(folder.glob('*out.h5'))

    @pytest.mark.parametrize(
        'command',
        [
            f'{COMMAND} --output out.h5',
            'annotate survey.fits out.fits --model model.onnx --survey sdss-dr9 --quiet',
        ],
    )
    def test_without_a_network_nothing_is_written(self, run, folder, serving, command):
        before = sorted(os.listdir(folder))
        with serving(faults=lambda request: faults.status(503)), conf.set_temp('tries', 1):
            code, output, error = run(command)
        assert (code, output) == (1, '')
        assert error.count('\n') == 1
        assert 'none of 24 rows has an image (24 http_503)' in error
        assert 'check the network, and try again' in error
        assert sorted(os.listdir(folder)) == before

    def test_file_that_is_there_is_replaced_only_if_asked(self, done, run, folder):
        command = 'fetch survey.fits --source sdss-{band}.fits --size 24 --quiet --output there.h5'
        done(command)
        code, _, error = run(command)
        assert code == 1
        assert 'use --overwrite to replace it' in error
        done(f'{command} --overwrite --bands r')
        assert CutoutSet.read(folder / 'there.h5').bands == ('r',)

    @pytest.mark.parametrize(
        ('text', 'size'),
        [
            ('64', 64),
            ('30 arcsec', 30 * u.arcsec),
            ('0.5arcmin', 0.5 * u.arcmin),
            ('4*petroR90_r', '4*petroR90_r'),
            ('radius', 'radius'),
        ],
    )
    def test_sizes_are_read(self, text, size):
        options = make_parser().parse_args(['fetch', 'a.fits', '--size', text])
        assert options.size == size
        assert type(options.size) is type(size)

    def test_name_of_the_file_is_known_before_the_work(self, capsys):
        with pytest.raises(SystemExit) as exit_:
            main(['fetch', 'survey.fits', '--output', 'cutouts.fits'])
        assert exit_.value.code == 2
        assert "'cutouts.fits' must end in .h5" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ('ending', 'package'), [('.h5', 'h5py'), ('.zarr', 'zarr'), ('.hats', 'lsdb')]
    )
    def test_cutouts_stand_for_the_catalogue(self, done, folder, ending, package):
        pytest.importorskip(package, exc_type=ImportError)
        file = f'survey{ending}'
        done(f'fetch survey.fits --source sdss-{{band}}.fits --size 24 --quiet --output {file}')
        done(f'fit {file} stored.pt --encoder random --strategy linear --quiet --overwrite')
        said = done(
            f'annotate {file} stored.ecsv --model stored.pt --coord-columns x y --overwrite'
        )
        assert said == '24 of 24 galaxies have a class\n'
        command = 'annotate survey.fits direct.ecsv --model model.pt --overwrite'
        done(f'{command} --source sdss-{{band}}.fits')
        stored, direct = (read_table(folder / f'{name}.ecsv') for name in ('stored', 'direct'))
        if ending == '.hats':
            # The rows are in the order of the sky; the model has seen them in another.
            direct = direct[stored['cutout_row']]
            stored.remove_column('cutout_row')
        else:
            np.testing.assert_allclose(stored['morph_p_round'], direct['morph_p_round'], atol=1e-5)
        assert stored.colnames == direct.colnames
        np.testing.assert_array_equal(stored['ra'], direct['ra'])
        assert done(f'evaluate {file} --model stored.pt').startswith('18 galaxies\n')

    def test_parquet_with_images_needs_no_source(self, done, folder):
        arrow, parquet = map(pytest.importorskip, ('pyarrow', 'pyarrow.parquet'))
        done('fetch survey.fits --source sdss-{band}.fits --size 24 --quiet --output images.h5')
        images = CutoutSet.read(folder / 'images.h5').images
        bands = [f'sdss-{band}' for band in 'gri']
        cells = [None, *({'band': bands, 'flux': image.tolist()} for image in images[1:])]
        plane = arrow.list_(arrow.list_(arrow.list_(arrow.float32())))
        kind = arrow.struct({'band': arrow.list_(arrow.string()), 'flux': plane})
        table = arrow.table({'id': range(len(cells)), 'image': arrow.array(cells, kind)})
        parquet.write_table(table, folder / 'universe.parquet')
        said = done('annotate universe.parquet out.parquet --model model.pt')
        assert said == '23 of 24 galaxies have a class, 1 all_nan\n'
        assert parquet.read_table(folder / 'out.parquet')['image'].type == kind

    def test_folders_are_named_beside_and_replaced_if_asked(self, done, folder):
        pytest.importorskip('zarr')
        command = 'fetch survey.fits --source sdss-{band}.fits --size 24 --quiet --output b.zarr'
        done(command)
        done(f'{command} --overwrite')
        done('annotate b.zarr --model model.pt --quiet')
        assert len(read_table(folder / 'b-annotated.parquet')) == 24


class TestFit:
    def test_model_is_that_of_the_classifier(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        catalogue = read_table('survey.fits')
        expected = MorphologyClassifier(
            'sdss-{band}.fits', encoder='random', strategy='linear', size=24, random_state=0
        )
        model = MorphologyClassifier.load('model.pt', source='sdss-{band}.fits')
        np.testing.assert_allclose(
            model.predict_proba(catalogue),
            expected.fit(catalogue).predict_proba(catalogue),
            atol=1e-5,
        )

    def test_labels_may_be_in_another_column(self, done, folder):
        catalogue = read_table(folder / 'survey.fits')
        catalogue.rename_column('morphology', 'seen')
        write_table(catalogue, folder / 'seen.ecsv')
        options = '--source sdss-{band}.fits --size 24 --encoder random --strategy linear --quiet'
        done(f'fit seen.ecsv seen.pt --labels seen {options}')
        assert MorphologyClassifier.load(folder / 'seen.pt').classes_.tolist() == [
            'edge_on',
            'round',
        ]

    def test_epochs_of_fine_tuning_from_an_encoder_of_ones_own(self, done, folder):
        done('pretrain survey.fits new/encoder.pt --source sdss-{band}.fits --size 24 --epochs 1')
        done(
            'fit survey.fits new/tuned.pt --source sdss-{band}.fits --size 24 --quiet '
            '--encoder new/encoder.pt --strategy fine-tune --epochs 1'
        )
        spec = MorphologyClassifier.load(folder / 'new/tuned.pt').model_.spec
        assert (spec.bands, spec.size) == (('g', 'r', 'i'), 24)

    def test_bands_are_those_asked_for(self, done, folder):
        done(f'fit survey.fits red.pt --source sdss-{{band}}.fits --bands r,g {" ".join(FAST)}')
        assert MorphologyClassifier.load(folder / 'red.pt').model_.spec.bands == ('r', 'g')


class TestPretrain:
    COMMAND = 'pretrain survey.fits {} --source sdss-{{band}}.fits --size 24 --quiet --epochs 2'

    def test_encoder_is_that_of_the_estimator(self, done, folder):
        done(self.COMMAND.format('own.pt') + ' --batch-size 8')
        expected = MorphologyEncoder(
            source='sdss-{band}.fits', size=24, epochs=2, batch_size=8, random_state=0, verbose=0
        )
        expected.fit(read_table(folder / 'survey.fits'))
        written = MorphologyEncoder.load(folder / 'own.pt')
        assert written.model_.spec.identifier == expected.model_.spec.identifier

    def test_finished_run_is_read_from_its_checkpoint(self, done, run, folder, monkeypatch):
        command = self.COMMAND.format('first.pt') + ' --checkpoint run.ckpt'
        done(command)
        monkeypatch.setattr('astro_morph.learning.training.loop._learn', None)
        done(command.replace('first.pt', 'second.pt'))
        first, second = (MorphologyEncoder.load(folder / f'{n}.pt') for n in ('first', 'second'))
        assert first.model_.spec.identifier == second.model_.spec.identifier
        code, _, error = run(command + ' --batch-size 8 --overwrite')
        assert code == 1
        assert '--checkpoint run.ckpt is of another run, whose --batch-size is 24, not 8' in error


class TestSearch:
    """Build an index with each kind of model, and search it."""

    @pytest.mark.parametrize('model', ['encoder.pt', 'model.onnx'])
    def test_examples_are_rows_positions_and_images(self, done, folder, model):
        said = done(
            f'index survey.fits {model}.index --model {model} --source sdss-{{band}}.fits --quiet'
        )
        assert said == '24 of 24 galaxies can be found\n'
        catalogue = read_table(folder / 'survey.fits')
        position = f'{catalogue["ra"][3]:.6f},{catalogue["dec"][3]:.6f}'
        done(f'search {model}.index --like 3 --n 5 --output {model}-like.ecsv')
        found = read_table(folder / f'{model}-like.ecsv')
        assert found['morph_rank'].tolist() == [1, 2, 3, 4, 5]
        np.testing.assert_array_equal(found['ra'], catalogue['ra'][found['morph_row']])
        printed = done(f'search {model}.index --like {position} --n 5')
        rows = [line.split()[2] for line in printed.splitlines() if line.split()[0] in '12345']
        assert rows == [str(row) for row in found['morph_row']]
        refined = done(f'search {model}.index --like 3 --like 8 --unlike {rows[0]} --n 3')
        assert len(refined.splitlines()) >= 5


class TestAnnotate:
    def test_rows_and_columns_stay_and_both_forms_of_the_model_agree(self, done, folder):
        catalogue = read_table(folder / 'survey.fits')
        annotated = {}
        for model in ('model.pt', 'model.onnx'):
            output = f'{model}.ecsv'
            said = done(
                f'annotate survey.fits {output} --model {model} --source sdss-{{band}}.fits'
            )
            assert said == '24 of 24 galaxies have a class\n'
            annotated[model] = read_table(folder / output)
            assert annotated[model].colnames[:3] == ['ra', 'dec', 'morphology']
            np.testing.assert_array_equal(annotated[model]['ra'], catalogue['ra'])
        torch, onnx = annotated.values()
        assert torch['morph_class'].tolist() == onnx['morph_class'].tolist()
        np.testing.assert_allclose(torch['morph_p_round'], onnx['morph_p_round'], atol=1e-4)

    def test_embedding_is_a_column_of_both_forms_of_the_model(self, done, folder):
        columns = []
        for model in ('model.pt', 'model.onnx'):
            output = f'{model}-embedded.parquet'
            done(
                f'annotate survey.fits {output} --model {model} --embedding 4 '
                '--source sdss-{band}.fits'
            )
            columns.append(read_table(folder / output)['morph_embedding'])
        assert columns[0].shape == (24, 4)
        np.testing.assert_allclose(*columns, atol=0.01)

    def test_without_a_model_the_bundled_one_looks_at_pictures(self, done, folder, serving):
        survey = SimulatedSurvey(n_galaxies=24, kinds=['edge_on', 'round'])
        write_table(survey.catalogue['ra', 'dec', 'petroR90_r'], folder / 'radii.fits')
        with serving() as server:
            said = done('annotate radii.fits --survey sdss-dr9')
        assert {request.params['hips'] for request in server.requests} == {'CDS/P/SDSS9/color'}
        assert said == '24 of 24 galaxies have a class\nwritten to radii-annotated.fits\n'
        annotated = read_table(folder / 'radii-annotated.fits')
        assert np.mean(annotated['morph_class'] == survey.catalogue['morphology']) > 0.6

    def test_positions_alone_and_sizes_of_ones_own_are_enough(self, run, done, folder, serving):
        survey = SimulatedSurvey(n_galaxies=24, kinds=['edge_on', 'round'])
        places = survey.catalogue['ra', 'dec']
        write_table(places, folder / 'places.fits')
        places['my_r90'] = survey.catalogue['petroR90_r']
        write_table(places, folder / 'mine.fits')
        with serving():
            done('annotate places.fits --survey sdss-dr9')
            done("annotate mine.fits named.fits --survey sdss-dr9 --size '3.28 * my_r90'")
            code, _, error = run('annotate mine.fits not.fits --survey sdss-dr9')
        assert code == 1
        assert "has no column 'petroR90_r'" in error
        assert "--size '3.28 * my_r90'" in error
        measured = read_table(folder / 'places-annotated.fits')
        assert (measured['morph_flags'] & BITS['size_measured'] > 0).all()
        named = read_table(folder / 'named.fits')
        assert not (named['morph_flags'] & BITS['size_measured']).any()
        for annotated in (measured, named):
            assert np.mean(annotated['morph_class'] == survey.catalogue['morphology']) > 0.6

    @pytest.mark.parametrize(
        ('size', 'message'),
        [('20arcsec', 'have one pixel scale'), ('64', 'the model needs')],
    )
    def test_size_that_the_model_has_no_use_for_is_refused(self, run, size, message):
        command = 'annotate survey.fits not.fits --model model.pt --source sdss-{band}.fits'
        code, _, error = run(f'{command} --size {size}')
        assert code == 1
        assert message in error

    def test_bad_rows_are_counted(self, done, folder):
        catalogue = read_table(folder / 'survey.fits')
        catalogue['dec'][[2, 5]] = 95
        catalogue['ra'][7] = np.nan
        write_table(catalogue, folder / 'bad.ecsv')
        said = done('annotate bad.ecsv out.ecsv --model model.pt --source sdss-{band}.fits')
        assert said == ('21 of 24 galaxies have a class, 2 invalid_coordinates, 1 no_coordinates\n')

    def test_stopped_run_goes_on_if_asked(self, done, run, folder, monkeypatch):
        def stop(parts, part, predictions):
            if part.start > 0:
                raise KeyboardInterrupt
            write(parts, part, predictions)

        write = Parts.write
        command = 'annotate survey.fits stopped.ecsv --model model.onnx --images sdss-{band}.fits'
        with monkeypatch.context() as patch:
            patch.setattr('astro_morph.prediction.streaming.PART', 8)
            patch.setattr(Parts, 'write', stop)
            code, _, error = run(command)
            assert (code, error.count('\n')) == (130, 1)
            assert '--resume' in error
            code, _, error = run(command)
            assert code == 1
            assert 'holds a run that was stopped; use --resume' in error
        monkeypatch.setattr('astro_morph.prediction.streaming.PART', 8)
        assert done(f'{command} --resume') == '24 of 24 galaxies have a class\n'
        assert not (folder / 'stopped.ecsv.parts').exists()

    def test_an_onnx_model_needs_no_torch(self, folder):
        code = (
            'import sys; from astro_morph.cli import main; code = main(sys.argv[1:]); '
            "print(code, sorted({'torch', 'torchvision', 'astroquery'} & set(sys.modules)))"
        )
        arguments = 'annotate survey.fits light.fits --model model.onnx --images sdss-{band}.fits'
        done = subprocess.run(
            [sys.executable, '-c', code, *arguments.split()],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.stdout.splitlines()[-1] == '0 []', done.stderr

    @pytest.fixture(scope='class')
    @staticmethod
    def of_numbers(folder):
        """A model of two numbers, in both forms."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            options = ['--target', 'dec,ra', '--source', 'sdss-{band}.fits', *FAST]
            assert main(['fit', 'survey.fits', 'n.pt', *options]) == 0
            assert main(['export', 'n.onnx', '--model', 'n.pt']) == 0

    @pytest.mark.usefixtures('of_numbers')
    def test_a_model_of_numbers(self, done, folder):
        for model in ('n.pt', 'n.onnx'):
            options = f'--model {model} --source sdss-{{band}}.fits'
            command = f'survey.fits {options}'
            said = done(f'annotate survey.fits n.ecsv {options} --overwrite')
            assert said == '24 of 24 galaxies have a prediction\n'
            assert read_table(folder / 'n.ecsv')['morph_dec'].unit == 'deg'
            assert re.search(r'^ *dec +deg +24 ', done(f'evaluate {command}'), re.MULTILINE)
        done(f'evaluate {command} --target ra,dec')

    @pytest.mark.usefixtures('of_numbers')
    def test_a_table_is_whole_without_a_terminal(self, done, monkeypatch):
        monkeypatch.setenv('COLUMNS', '40')
        said = done('evaluate survey.fits --model n.pt --source sdss-{band}.fits')
        assert said.split()[:10] == [
            *('name', 'unit', 'n', 'bias', 'rms', 'nmad', 'outliers', 'r2', 'coverage', 'width')
        ]
        assert ' ... ' not in done(
            'evaluate survey.fits --model model.pt --source sdss-{band}.fits'
        )

    @pytest.mark.usefixtures('of_numbers')
    @pytest.mark.parametrize(
        ('command', 'message'),
        [
            ('fit survey.fits bad.pt --target none', "--target names 'none', which is not among"),
            ('fit survey.fits bad.pt --target morphology', "--target names the column 'morph"),
            ('evaluate survey.fits --model n.pt --target morphology', 'expected numbers'),
            ('evaluate survey.fits --model n.pt --target ra', 'the model predicts 2 numbers'),
            ('evaluate survey.fits --model n.pt --report n.html', 'expected one of classes for --'),
            ('fit survey.fits bad.pt --target ra --strategy head', 'strategy'),
        ],
    )
    def test_numbers_that_cannot_be(self, run, command, message):
        code, _, error = run(f'{command} --source sdss-{{band}}.fits')
        assert code == 1
        assert message in error

    def test_a_model_of_votes(self, done, folder):
        model = TorchModel.load(folder / 'model.pt')
        spec = dataclasses.replace(
            model.spec,
            tree={'edge_on': {'answers': {'yes': 'n_yes', 'no': 'n_no'}}},
            classes=('edge_on_yes', 'edge_on_no'),
        )
        TorchModel(spec, model.network).save(folder / 'votes.pt')
        said = done('annotate survey.fits votes.ecsv --model votes.pt --source sdss-{band}.fits')
        assert said == '24 of 24 galaxies have a prediction\n'
        assert 'morph_edge_on_yes' in read_table(folder / 'votes.ecsv').colnames
        done(
            'annotate survey.fits asked.ecsv --model votes.pt --source sdss-{band}.fits --quiet '
            "--columns 'fraction, face_on = not edge-on'"
        )
        names = ['morph_edge_on_no_fraction', 'morph_face_on']
        table = read_table(folder / 'asked.ecsv')
        np.testing.assert_allclose(*(table[name] for name in names), rtol=1e-6)

    def test_columns_of_two_models_stay_beside_each_other(self, done, folder):
        for number, catalogue in enumerate(['survey.fits', 'prefix0.ecsv']):
            done(
                f'annotate {catalogue} prefix{number}.ecsv --model model.onnx --quiet '
                f'--source sdss-{{band}}.fits --prefix model{number}_'
            )
        assert {'model0_class', 'model1_class'} < {*read_table(folder / 'prefix1.ecsv').colnames}

    def test_without_any_image_nothing_is_written(self, run, folder):
        write_table(Table({'cutout': ['a.npy', 'b.npy'], 'path': ['x', 'y']}), folder / 'lost.csv')
        before = sorted(os.listdir(folder))
        code, output, error = run(
            'annotate lost.csv out.csv --model model.onnx --image-column cutout'
        )
        assert (code, output) == (1, '')
        assert error.count('\n') == 1
        assert "none of 2 rows has an image (2 not_found); the first is './a.npy'" in error
        assert sorted(os.listdir(folder)) == before

    def test_ctrl_c_while_the_network_runs(self, folder):
        table = read_table(folder / 'survey.fits')
        write_table(table[np.arange(300 * len(table)) % len(table)], folder / 'large.fits')
        command = 'annotate large.fits stopped.fits --model model.onnx --images sdss-{band}.fits'
        # Ctrl-C raises, also where the tests run in the background of a script.
        code = (
            'import signal, sys; from astro_morph.cli import main; '
            'signal.signal(signal.SIGINT, signal.default_int_handler); main()'
        )
        process = subprocess.Popen(
            [sys.executable, '-c', code, *command.split()],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not (folder / '.stopped.fits.lock').exists():
            time.sleep(0.01)
        time.sleep(1)  # until batches are on their way
        process.send_signal(signal.SIGINT)
        output, error = process.communicate()
        assert (process.returncode, output) == (130, '')
        assert error.splitlines()[-1].startswith('astro-morph: interrupted')
        assert 'Traceback' not in error
        assert not (folder / 'stopped.fits').exists()

    def test_overwrite_replaces_file_and_columns(self, done, folder):
        write_table(read_table(folder / 'survey.fits')[:3], folder / 'again.ecsv')
        command = 'annotate again.ecsv again.ecsv --model model.pt --source sdss-{band}.fits'
        done(f'{command} --overwrite')
        once = read_table(folder / 'again.ecsv')
        done(f'{command} --overwrite')
        assert read_table(folder / 'again.ecsv').colnames == once.colnames

    @pytest.mark.filterwarnings('ignore:the labels are too few to hold some out')
    def test_image_paths_start_from_the_catalogue(self, folder, monkeypatch, tmp_path, capsys):
        catalogue = read_table(folder / 'survey.fits')[:3]
        images = SimulatedSurvey(n_galaxies=24, kinds=['edge_on', 'round']).fetch(
            catalogue, size=24
        )
        elsewhere = tmp_path / 'elsewhere'
        (elsewhere / 'images').mkdir(parents=True)
        for number, image in enumerate(images.images):
            np.save(elsewhere / f'images/{number}.npy', image)
        catalogue['path'] = [f'images/{number}.npy' for number in range(3)]
        write_table(catalogue['path', 'morphology'], elsewhere / 'paths.csv')
        monkeypatch.chdir(tmp_path)
        arguments = shlex.split(
            'fit elsewhere/paths.csv files.pt --encoder random --strategy linear --quiet'
        )
        assert main(arguments) == 0
        assert main(['annotate', 'elsewhere/paths.csv', 'o.csv', '--model', 'files.pt']) == 0
        assert capsys.readouterr().out == '3 of 3 galaxies have a class\n'


def test_export_prints_what_a_faster_file_costs(done, folder):
    said = done(
        'export fast.onnx --model model.pt --precision int8 --views 1 --on survey.fits '
        "--images 'sdss-{band}.fits'"
    )
    cost = OnnxClassifier(folder / 'fast.onnx').cost_
    assert (cost.precision, cost.views, cost.n_galaxies, cost.n_labels) == ('int8', 1, 24, 18)
    assert said == f'{cost}\n'


@pytest.mark.parametrize('model', ['model.pt', 'model.onnx'])
def test_evaluate_prints_the_evaluation_and_writes_a_report(done, folder, model):
    said = done(f'evaluate survey.fits --model {model} --source sdss-{{band}}.fits')
    classifier = MorphologyClassifier.load(folder / 'model.pt', source='sdss-{band}.fits')
    expected = evaluate(classifier, read_table(folder / 'survey.fits'))
    assert said == f'{expected}\n'
    assert said.startswith('18 galaxies\n')
    page = folder / 'pages' / f'{model}.html'
    command = f'evaluate survey.fits --model {model} --source sdss-{{band}}.fits --report {page}'
    assert done(command) == said
    assert '18 of 24 rows have a label' in page.read_text(encoding='utf-8')


def test_evaluate_prints_groups_and_fractions(done, folder):
    model = '--model model.onnx --source sdss-{band}.fits'
    done(f'annotate survey.fits population.fits {model}')
    files = f'survey.fits {model}'
    said = done(f'evaluate {files} --fractions population.fits')
    classifier = OnnxClassifier(folder / 'model.onnx', source='sdss-{band}.fits', verbose=0)
    evaluation = classifier.evaluate(read_table(folder / 'survey.fits'))
    assert said.startswith(f'{evaluation}\n\n')
    fractions = evaluation.fractions(read_table(folder / 'population.fits'))
    assert fractions.pformat(max_width=-1)[2] in said
    said = done(f'evaluate {files} --by dec')
    assert str(evaluation.groups('dec')['group'][0]) in said


def test_demo_is_run_with_its_options(monkeypatch, capsys, tmp_path):
    asked = []

    def run_small(folder, **options):
        asked.append((folder, options))

    monkeypatch.setattr(demo, 'run', run_small)
    assert main(['demo', '--output', str(tmp_path), '--random-state', '3', '--quiet']) == 0
    assert asked == [(tmp_path, {'random_state': 3, 'verbose': 0})]


ON_SKY = "--source 'sdss-{band}.fits'"
ERRORS = {
    f'annotate nothing.fits out.fits --model model.pt {ON_SKY}': (
        "there is no file 'nothing.fits'; check"
    ),
    f'annotate survey.fits out.fits --model nothing.pt {ON_SKY}': (
        "there is no file 'nothing.pt'; check"
    ),
    f'annotate survey.fits out.txt --model model.pt {ON_SKY}': "'out.txt' must end in one of",
    f'annotate survey.fits survey.fits --model model.pt {ON_SKY}': 'use --overwrite to replace it',
    f'annotate annotated.fits out.fits --model model.pt {ON_SKY}': 'use --overwrite to replace th',
    f'annotate broken.fits out.fits --model model.pt {ON_SKY}': "catalogue 'broken.fits' cannot be",
    f'annotate broken.vot out.fits --model model.pt {ON_SKY}': "catalogue 'broken.vot' cannot be",
    f'annotate survey.fits out.fits --model broken.fits {ON_SKY}': 'is no model of astro_morph',
    f'annotate survey.fits out.fits --model encoder.pt {ON_SKY}': 'holds an encoder, which has no',
    'annotate survey.fits out.fits --model model.pt': 'pass --source the name',
    'annotate survey.fits out.fits --model model.pt --source "no-*.fits"': 'matches no file',
    'export out.onnx --model model.onnx': 'is an ONNX file already; name the model',
    'export out.onnx --model model.pt --precision int8': 'a few hundred galaxies as --on',
    'export out.onnx --model model.pt --views 1': 'and --views 1 change the',
    f'fit survey.fits out.pt --labels class {ON_SKY}': "--labels names 'class', which is not among",
    f'fit survey.fits out.pt --encoder nothing.pt {ON_SKY}': '--encoder must be the file of',
    f'fit survey.fits out.pt --size 2*radius {ON_SKY}': "catalogue has no column 'radius', only",
    f'fit plain.fits out.pt {ON_SKY}': 'as in --coord-columns ra dec',
    f'fit far.fits out.pt {ON_SKY}': 'none of 9 rows has an image (9 no_coverage); the first is',
    f'fit survey.fits model.pt {ON_SKY}': 'model.pt exists already; use --overwrite to replace it',
    f'pretrain survey.fits encoder.pt {ON_SKY}': 'encoder.pt exists already; use --overwrite',
    'export model.onnx --model model.pt': 'model.onnx exists already; use --overwrite to',
    f'evaluate survey.fits --model model.pt --report page.html {ON_SKY}': 'use --overwrite to repl',
    f'label survey.fits --output out.fits --classes round,a --encoder random {ON_SKY}': (
        "'random' is none of these"
    ),
    f'label survey.fits --output plain.fits --classes round,a {ON_SKY}': 'name another file',
    f'evaluate survey.fits --model model.pt --labels seen {ON_SKY}': "--labels names 'seen', which",
}


@pytest.mark.parametrize(('command', 'remedy'), ERRORS.items(), ids=range(len(ERRORS)))
def test_error_is_one_line_that_names_the_remedy(folder, run, command, remedy):
    before = sorted(os.listdir(folder))
    code, output, error = run(command)
    assert code == 1
    assert output == ''
    assert error.startswith('astro-morph: ')
    assert error.count('\n') == 1
    assert remedy in error
    assert sorted(os.listdir(folder)) == before


def test_output_that_cannot_be_written_is_known_before_the_work(folder, run, monkeypatch):
    def work(*args, **kwargs):
        pytest.fail('the model ran')

    monkeypatch.setattr('astro_morph.prediction.streaming.predict', work)
    shutil.copy(folder / 'survey.fits', folder / 'there.fits')
    for output in ('there.fits', 'out.unknown'):
        assert run(f'annotate survey.fits {output} --model model.pt {ON_SKY}')[0] == 1


@pytest.mark.parametrize(
    'path', ['source=sdss/as X;/overwrite=True.fits', 'label_column/views=.fits']
)
def test_a_path_of_the_user_stays_as_it_is(run, path):
    for command in (f"fit '{path}' out.pt", f"annotate survey.fits out.fits --model '{path}'"):
        code, _, error = run(command)
        assert code == 1
        assert error == f'astro-morph: there is no file {path!r}; check its name and folder\n'


def test_after_an_error_python_names_arguments_again(folder, run):
    assert run(f'fit survey.fits model.pt {ON_SKY}')[0] == 1
    with pytest.raises(FileExistsError, match='use overwrite=True to replace it'):
        check_new(folder / 'model.pt')


VALUES = {
    'fit a.fits a.pt --epochs 0': 'argument --epochs: ',
    'fetch a.fits --size 16': "argument --size: '16' must be a whole number from 17 to",
    'fit a.fits a.pt --max-time 0': 'argument --max-time: ',
    'fit a.fits a.pt --random-state -1': 'argument --random-state: ',
    'pretrain a.fits a.pt --batch-size 1': 'argument --batch-size: ',
    'label a.fits --port 65536': 'argument --port: ',
    'cache prune --max-size huge': 'argument --max-size: ',
}


@pytest.mark.parametrize(('command', 'message'), VALUES.items(), ids=range(len(VALUES)))
def test_values_of_options_are_checked_first(command, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(shlex.split(command))
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    'arguments',
    [
        '--help',
        '--version',
        'label --help',
        'fit survey.fits out.pt --epochs 0',
        'fit nothing.fits out.pt',
        'fit survey.fits model.pt',
        'pretrain survey.fits out.pt --source nowhere',
        'label nothing.fits',
        'annotate survey.fits out.fits --model nothing.pt',
        'annotate survey.fits plain.fits --model model.pt',
        'annotate nothing.fits out.fits --model model.pt',
        'evaluate survey.fits --model model.pt --report page.html',
        'export out.onnx --model nothing.pt',
        'cache prune --max-size huge',
    ],
)
def test_arguments_are_checked_without_torch(folder, arguments):
    code = """if True:
        import sys
        from astro_morph.cli import main
        try:
            main(sys.argv[1:])
        finally:
            print('torch' in sys.modules)
    """
    command = [sys.executable, '-c', code, *arguments.split()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == 'False', done.stderr


@pytest.mark.parametrize(
    ('command', 'name'),
    [
        (f'fit survey.fits there.pt {ON_SKY} {" ".join(FAST)}', 'there.pt'),
        (f'pretrain survey.fits there.pt {ON_SKY} --size 24 --epochs 1 --quiet', 'there.pt'),
        ('export there.onnx --model model.pt', 'there.onnx'),
        (f'evaluate survey.fits --model model.pt {ON_SKY} --report there.html', 'there.html'),
    ],
)
def test_overwrite_replaces_the_file(done, folder, command, name):
    (folder / name).write_text('old')
    done(f'{command} --overwrite')
    assert (folder / name).read_bytes() != b'old'


class TestCoordColumns:
    @pytest.fixture
    def moved(self, folder):
        """Write a catalogue whose positions are not in the columns ra and dec; return options."""
        catalogue = read_table(folder / 'survey.fits')
        catalogue['x'], catalogue['y'] = catalogue['ra'], catalogue['dec']
        catalogue['dec'] -= 30
        write_table(catalogue, folder / 'moved.fits', overwrite=True)
        return f'{ON_SKY} --coord-columns x y'

    @pytest.mark.parametrize(
        'command',
        [
            'fetch {} --output moved.h5',
            'annotate {} moved.ecsv --model model.onnx',
            'evaluate {} --model model.pt',
            'export moved.onnx --model model.pt --views 1 --on {}',
            'fit {} moved.pt ' + ' '.join(FAST),
            'pretrain {} moved.pt --size 24 --epochs 1 --quiet',
        ],
    )
    def test_positions_are_read_from_these_columns(self, done, moved, command):
        output = done(f'{command.format("moved.fits")} --overwrite {moved}')
        assert output == done(f'{command.format("survey.fits")} --overwrite {ON_SKY}')

    def test_for_the_source_of_the_configuration(self, done, moved):
        with conf.set_temp('survey', 'sdss-{band}.fits'):
            output = done(
                'annotate moved.fits moved.ecsv --model model.pt --overwrite --coord-columns x y'
            )
        assert output == '24 of 24 galaxies have a class\n'

    def test_for_labelling(self, done, moved, monkeypatch):
        def label(X, path, *, classifier, **options):
            assert classifier.source.coord_columns == ['x', 'y']
            return X

        monkeypatch.setattr('astro_morph.labelling.label', label)
        done(f'label moved.fits {moved}')
