# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Six of the benchmarks at small sizes, which asv repeats for each commit.

The sizes are for minutes, not for the numbers of the documentation. Run it in its parent folder:

    asv run --quick HEAD^!
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import annotate
import cutouts
import fetch
import first_prediction
import inference
import numpy as np
import preprocessing

from astro_morph import OnnxClassifier
from astro_morph.cutouts import Hips2Fits, Mosaics
from astro_morph.photometry import Preprocessor
from astro_morph.simulation import SimulatedSurvey


class InFolder:
    """A benchmark with a temporary folder."""

    def setup(self):
        self.temporary = TemporaryDirectory()
        self.folder = Path(self.temporary.name)

    def teardown(self):
        self.temporary.cleanup()


class Cutouts(InFolder):
    """Cutouts from mosaics, as in ``cutouts.py``."""

    def setup(self):
        super().setup()
        rng = np.random.default_rng(0)
        wcs = cutouts.write_mosaic(self.folder, 2000, rng)
        self.coords = wcs.pixel_to_world(*rng.uniform(0, 1999, (2, 1000)))

    def fetch(self, **options):
        source = Mosaics(str(self.folder / 'mosaic-{band}.fits'), bands=cutouts.BANDS, **options)
        ways = {'ours': (lambda coords: source.fetch(coords, size=cutouts.SIZE), self.coords)}
        return cutouts.time_in_turn(ways, 3)[0]['ours']

    def track_native(self):
        return self.fetch()

    def track_resampled(self):
        return self.fetch(pixel_scale=cutouts.OTHER_SCALE)

    track_native.unit = track_resampled.unit = 'cutouts/s'


class Fetch:
    """Cutouts from a simulated service, as in ``fetch.py``."""

    def setup(self):
        self.table = fetch.make_positions(50, 200, np.random.default_rng(0))

    def track_hips2fits(self):
        with fetch.ServerProcess() as server, fetch.lifted_limits():
            source = Hips2Fits('sdss-dr9', bands='r', server=server.url, cache=False)
            _, seconds = fetch.timed(lambda: source.fetch(self.table, size=fetch.SIZE))
        return len(self.table) / seconds

    track_hips2fits.unit = 'cutouts/s'


class CleanUp:
    """Clean-up of cutouts with the defaults, as in ``preprocessing.py``."""

    def setup(self):
        survey = SimulatedSurvey(n_galaxies=256)
        self.cutouts = survey.fetch(survey.catalogue, size=64)

    def track_defaults(self):
        seconds = preprocessing.best_of(lambda: Preprocessor().transform(self.cutouts))
        return len(self.cutouts) / seconds

    track_defaults.unit = 'galaxies/s'


class Inference(InFolder):
    """The network alone, with one view, as in ``inference.py``."""

    params = ('torch float32', 'ONNX float32', 'ONNX int8')
    param_names = ('runtime',)

    def setup(self, runtime):
        super().setup()
        images = inference.noise(64)
        classifier = inference.make_classifier(images, encoder='random', strategy='linear')
        self.run = inference.contenders(classifier, images, self.folder, views=1)[runtime]
        self.images = images.images.astype(np.float32)
        self.run(self.images)

    def teardown(self, runtime):
        super().teardown()

    def track_rate(self, runtime):
        return max(inference.measure(self.run, self.images) for _ in range(3))

    track_rate.unit = 'galaxies/s'


class Annotate(InFolder):
    """A catalogue annotated from file to file, as in ``annotate.py``."""

    def setup(self):
        super().setup()
        options = argparse.Namespace(size=64, precision='int8', views=1)
        self.path = annotate.write_survey(self.folder, 500, 2, 1000, options.size)
        annotate.write_model(self.folder, self.path, options)

    def track_rate(self):
        pattern = str(self.folder / 'tile*-{band}.fits')
        classifier = OnnxClassifier(self.folder / 'model.onnx', pattern, verbose=0)
        output = self.folder / 'annotated.parquet'
        counts, seconds = fetch.timed(
            lambda: classifier.annotate_file(self.path, output, overwrite=True)
        )
        return counts.total() / seconds

    track_rate.unit = 'rows/s'


class FirstPrediction(InFolder):
    """From the start of Python to the first prediction, as in ``first_prediction.py``."""

    def setup(self):
        super().setup()
        first_prediction.draw_noise(self.folder)

    def track_seconds(self):
        program = first_prediction.PREDICTION % (self.folder, first_prediction.N_PICTURES)
        return min(first_prediction.run(program) for _ in range(3))

    track_seconds.unit = 's'
