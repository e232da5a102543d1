# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Votes: the likelihood, and the estimator."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from astropy.io.votable.ucd import parse_ucd
from astropy.table import MaskedColumn, QTable, Table
from scipy.stats import beta, dirichlet, dirichlet_multinomial
from sklearn.base import clone, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from astro_morph import MorphologyClassifier, MorphologyVotes, OnnxVotes
from astro_morph.catalog.io.tables import read_table
from astro_morph.catalog.vote_tree import GALAXY_ZOO, VoteTree, galaxy_zoo
from astro_morph.learning.subjects.votes import fit_votes_head
from astro_morph.models.dirichlet import (
    concentrations,
    expected_fractions,
    log_likelihood,
    log_likelihood_gradient,
)
from astro_morph.models.export import export
from astro_morph.models.torch_model import TorchModel
from astro_morph.prediction.annotate import annotate
from astro_morph.prediction.votes import check_columns
from astro_morph.tests.helpers import make_blobs

TREE = {
    'shape': {'answers': {'round': 'n_round', 'flat': 'n_flat', 'artifact': 'n_artifact'}},
    'bulge': {
        'answers': {'yes': 'n_bulge', 'no': 'n_no_bulge'},
        'asked_after': {'shape': ['flat']},
    },
}
COLUMNS = ['n_round', 'n_flat', 'n_artifact', 'n_bulge', 'n_no_bulge']
QUESTION = [0, 0, 0, 1, 1]


def make_votes(n, **options):
    """Make blobs with the votes of 40 people: nine in ten are right about the shape."""
    blobs = make_blobs(n, **options)
    random = np.random.default_rng(n)
    is_flat = np.array(blobs.table['morphology']) == 'edge_on'
    shape = random.multinomial(40, np.where(is_flat[:, None], [0.1, 0.85, 0.05], [0.85, 0.1, 0.05]))
    bulge = random.binomial(shape[:, 1], 0.3)
    counts = np.column_stack([shape, bulge, shape[:, 1] - bulge])
    table = blobs.table.copy()
    for name, column in zip(COLUMNS, counts.T, strict=True):
        table[name] = column
    return blobs.replace(table=table)


def make_estimator(**parameters):
    options = {'encoder': 'random', 'random_state': 0, 'device': 'cpu', 'verbose': 0}
    return MorphologyVotes(TREE, **options | parameters)


def clone_fitted(votes, **parameters):
    return copy.copy(votes).set_params(**parameters)


@pytest.fixture(scope='module')
def cutouts():
    return make_votes(24)


@pytest.fixture(scope='module')
def votes(cutouts):
    return make_estimator().fit(cutouts)


YES_OR_NO = VoteTree({'bar': {'answers': {'yes': 'n_yes', 'no': 'n_no'}}})


class TestLikelihood:
    def test_is_that_of_scipy_for_each_question(self):
        random = np.random.default_rng(0)
        counts, alpha = random.integers(20, size=(6, 5)), random.uniform(0.1, 9, size=(6, 5))
        came = log_likelihood(counts, alpha, VoteTree(TREE))
        for i, answers in enumerate((slice(0, 3), slice(3, 5))):
            k, a = counts[:, answers], alpha[:, answers]
            expected = dirichlet_multinomial.logpmf(k, a, k.sum(axis=1))
            np.testing.assert_allclose(came[:, i], expected)

    def test_question_without_votes_adds_nothing(self):
        counts = np.array([[3.0, 1, 0, 0, 0]])
        logits = np.random.default_rng(0).normal(size=(1, 5))
        assert log_likelihood(counts, concentrations(logits), VoteTree(TREE))[0, 1] == 0
        gradient = log_likelihood_gradient(counts, logits, VoteTree(TREE))
        np.testing.assert_allclose(gradient[0, 3:], 0, atol=1e-12)

    def test_gradient_is_the_slope_of_the_likelihood(self):
        random = np.random.default_rng(3)
        counts, logits = random.integers(20, size=(6, 5)), random.normal(size=(6, 5))
        tree, step = VoteTree(TREE), 1e-5
        expected = np.zeros((6, 5))
        for i in range(5):
            low, high = (
                log_likelihood(counts, concentrations(logits + shift * np.eye(5)[i]), tree)
                for shift in (-step, step)
            )
            expected[:, i] = (high - low).sum(axis=1) / (2 * step)
        came = log_likelihood_gradient(counts, logits, tree)
        np.testing.assert_allclose(came, expected, atol=1e-5)

    def test_moments_are_those_of_scipy(self):
        alpha = np.array([2.0, 5, 1, 0.5, 3])
        mean, std = expected_fractions(alpha[np.newaxis], VoteTree(TREE))
        np.testing.assert_allclose(mean[0, :3], dirichlet.mean(alpha[:3]))
        np.testing.assert_allclose(std[0, :3], np.sqrt(dirichlet.var(alpha[:3])))
        np.testing.assert_allclose(std[0, 3], beta(0.5, 3).std())

    def test_concentrations_are_positive_however_low_the_output(self):
        alpha = concentrations(np.array([-1e4, 0.0, 1e4]))
        assert (alpha > 0).all()
        assert alpha[2] == pytest.approx(1e4)

    def test_head_finds_the_concentrations_that_made_the_votes(self):
        random = np.random.default_rng(1)
        x = random.uniform(-1, 1, size=(4000, 1))
        # Softplus of 3 + 2 x and of 2 - x.
        alpha = np.log1p(np.exp(np.hstack([3 + 2 * x, 2 - x])))
        fractions = random.beta(*alpha.T)
        yes = random.binomial(30, fractions)
        counts = np.column_stack([yes, 30 - yes]).astype(float)
        head = fit_votes_head(
            np.hstack([5 * x + 7]), counts, YES_OR_NO, sample_weight=np.ones(4000), penalty=0
        )
        np.testing.assert_allclose(head.weight[:, 0] * 5, [2, -1], atol=0.25)
        np.testing.assert_allclose(head.bias + head.weight[:, 0] * 7, [3, 2], atol=0.25)

    def test_weight_two_is_a_galaxy_twice(self):
        random = np.random.default_rng(2)
        x, counts = random.normal(size=(30, 2)), random.integers(9, size=(30, 2)).astype(float)
        weight = random.integers(1, 3, size=30)
        weighted = fit_votes_head(x, counts, YES_OR_NO, sample_weight=weight.astype(float))
        twice = np.repeat(np.arange(30), weight)
        copied = fit_votes_head(
            x[twice], counts[twice], YES_OR_NO, sample_weight=np.ones(len(twice))
        )
        np.testing.assert_allclose(weighted.weight, copied.weight, atol=1e-4)


class TestEstimator:
    def test_fractions_follow_the_votes(self, votes, cutouts):
        fractions = votes.predict(make_votes(20, random_state=5))
        np.testing.assert_allclose(fractions[:, :3].sum(axis=1), 1)
        np.testing.assert_allclose(fractions[:, 3:].sum(axis=1), 1)
        is_flat = np.resize([False, True], 20)
        assert fractions[is_flat, 1].mean() - fractions[~is_flat, 1].mean() > 0.4
        assert abs(fractions[is_flat, 3].mean() - 0.3) < 0.1
        assert votes.answers_.tolist() == [
            'shape_round',
            'shape_flat',
            'shape_artifact',
            'bulge_yes',
            'bulge_no',
        ]

    def test_score_is_the_mean_log_likelihood_and_better_than_that_of_the_mean(self, votes):
        other = make_votes(20, random_state=5)
        mean, std = votes.predict(other, return_std=True)
        # Of a Dirichlet distribution, mean and standard deviation give the concentrations.
        total = (mean * (1 - mean) / std**2 - 1)[:, [0, 3]]
        alpha = mean * total[:, QUESTION]
        counts = np.column_stack([other.table[name] for name in COLUMNS])
        expected = sum(
            dirichlet_multinomial.logpmf(k, a, k.sum(axis=1))
            for k, a in ((counts[:, :3], alpha[:, :3]), (counts[:, 3:], alpha[:, 3:]))
        )
        assert votes.score(other) == pytest.approx(expected.mean(), rel=1e-6)
        unseeing = make_estimator().fit(np.zeros((20, 1)), counts)
        assert votes.score(other) > unseeing.score(np.zeros((20, 1)), counts)

    def test_many_votes_are_surer_than_few(self):
        x = np.zeros((30, 1))
        few, many = (make_estimator().fit(x, np.tile([n, n, 0, 0, 0], (30, 1))) for n in (1, 50))
        assert many.predict(x, return_std=True)[1][0, 0] < few.predict(x, return_std=True)[1][0, 0]

    def test_fractions_and_voters_are_read_from_columns(self, cutouts, votes):
        table = cutouts.table.copy()
        counts = np.column_stack([table[name] for name in COLUMNS]).astype(float)
        for name, of in zip(COLUMNS, (40, 40, 40, counts[:, 1], counts[:, 1]), strict=True):
            table[name] = table[name] / np.maximum(of, 1)
        table['people'] = 40
        for voters in ('people', 40):
            other = make_estimator(voters=voters).fit(cutouts.replace(table=table))
            np.testing.assert_allclose(
                other.predict(cutouts), votes.predict(cutouts), rtol=1e-3, atol=1e-4
            )

    def test_votes_may_be_an_array(self, cutouts, votes):
        counts = np.column_stack([cutouts.table[name] for name in COLUMNS])
        other = make_estimator().fit(cutouts.images, counts)
        np.testing.assert_array_equal(other.predict(cutouts.images), votes.predict(cutouts))

    def test_masked_votes_count_as_none(self, cutouts):
        table = cutouts.table.copy()
        for name in COLUMNS:
            table[name] = MaskedColumn(table[name], mask=np.arange(24) >= 18)
        masked = make_estimator().fit(cutouts.replace(table=table))
        unweighted = make_estimator().fit(cutouts, sample_weight=np.arange(24) < 18)
        np.testing.assert_allclose(masked.predict(cutouts), unweighted.predict(cutouts), atol=1e-5)
        score = masked.score(cutouts.replace(table=table))
        assert score == pytest.approx(masked.score(cutouts[:18]), rel=1e-5)

    def test_masked_question_leaves_the_others(self, cutouts):
        table = cutouts.table.copy()
        table['n_bulge'] = MaskedColumn(table['n_bulge'], mask=True)
        fractions = make_estimator().fit(cutouts.replace(table=table)).predict(cutouts)
        # All that is known of the question is nothing.
        np.testing.assert_allclose(fractions[:, 3:], 0.5)
        assert np.ptp(fractions[:, 0]) > 0.3

    def test_rows_without_an_image_are_left_out_and_nan(self, cutouts):
        images = cutouts.images.copy()
        images[::4] = np.nan
        status = np.where(np.arange(24) % 4 == 0, 'truncated', 'ok')
        broken = cutouts.replace(images=images, status=status)
        fitted = make_estimator().fit(broken)
        mean, std = fitted.predict(broken, return_std=True)
        np.testing.assert_array_equal(np.isnan(mean).all(axis=1), status != 'ok')
        np.testing.assert_array_equal(np.isnan(std).all(axis=1), status != 'ok')
        assert np.isfinite(fitted.score(broken))
        annotated = fitted.annotate(broken)
        assert annotated['morph_status'].tolist() == status.tolist()
        for name in ('morph_shape_round', 'morph_shape_round_std', 'morph_bulge_asked'):
            np.testing.assert_array_equal(annotated[name].mask, status != 'ok')

    def test_saved_model_is_the_same(self, votes, cutouts, tmp_path):
        votes.save(tmp_path / 'votes.pt')
        loaded = MorphologyVotes.load(tmp_path / 'votes.pt', verbose=0)
        np.testing.assert_array_equal(loaded.predict(cutouts), votes.predict(cutouts))
        assert loaded.score(cutouts) == votes.score(cutouts)
        assert loaded.answers_.tolist() == votes.answers_.tolist()
        assert loaded.tree == TREE

    def test_classes_and_votes_are_told_apart(self, votes, classifier, tmp_path):
        votes.save(tmp_path / 'votes.pt')
        with pytest.raises(ValueError, match=r'MorphologyVotes\.load'):
            MorphologyClassifier.load(tmp_path / 'votes.pt')
        classifier.save(tmp_path / 'classes.pt')
        with pytest.raises(ValueError, match='holds a model of classes'):
            MorphologyVotes.load(tmp_path / 'classes.pt')


class TestAnnotate:
    def test_columns_hold_the_predictions(self, votes, cutouts):
        table = QTable(cutouts.table)
        annotated = votes.annotate(cutouts.replace(table=table))
        assert type(annotated) is QTable
        assert annotated.colnames[len(table.colnames) :] == [
            'morph_shape_round',
            'morph_shape_round_std',
            'morph_shape_flat',
            'morph_shape_flat_std',
            'morph_shape_artifact',
            'morph_shape_artifact_std',
            'morph_bulge_yes',
            'morph_bulge_yes_std',
            'morph_bulge_no',
            'morph_bulge_no_std',
            'morph_bulge_asked',
            'morph_flags',
            'morph_status',
        ]
        mean, std = votes.predict(cutouts, return_std=True)
        np.testing.assert_allclose(annotated['morph_shape_flat'], mean[:, 1], rtol=1e-6)
        np.testing.assert_allclose(annotated['morph_shape_flat_std'], std[:, 1], rtol=1e-6)
        np.testing.assert_allclose(annotated['morph_bulge_asked'], mean[:, 1], rtol=1e-6)
        assert annotated.meta['MORPHMOD'] == votes.model_.spec.identifier

    def test_columns_are_described(self, votes, cutouts):
        annotated = votes.annotate(cutouts)
        for name in annotated.colnames[len(cutouts.table.colnames) :]:
            assert annotated[name].description
            parse_ucd(annotated[name].meta['ucd'], check_controlled_vocabulary=True)

    def test_columns_are_replaced_only_on_demand(self, votes, cutouts):
        annotated = cutouts.replace(table=votes.annotate(cutouts))
        with pytest.raises(ValueError, match='overwrite=True'):
            votes.annotate(annotated)
        again = votes.annotate(annotated, overwrite=True)
        assert again.colnames == annotated.table.colnames

    def test_prefix(self, votes, cutouts):
        assert 'zoo_bulge_yes' in votes.annotate(cutouts, prefix='zoo_').colnames

    def test_images_alone_get_row_numbers(self, votes, cutouts):
        assert votes.annotate(cutouts.images)['row'].tolist() == list(range(24))


def on_demand(table):
    """Check the columns on demand of `COLUMNS_WANTED`, from the fractions and concentrations."""
    names = [name for name in table.colnames if table[name].dtype.kind == 'f']
    column = {name.removeprefix('morph_'): table[name].astype(float) for name in names}
    flat = column['shape_flat_fraction']
    total = sum(column[f'shape_{answer}_dirichlet'] for answer in ('round', 'flat', 'artifact'))
    np.testing.assert_allclose(flat, column['shape_flat_dirichlet'] / total, rtol=1e-5)
    np.testing.assert_allclose(column['shape_flat_votes'], 40 * flat, rtol=1e-5)
    bulge = column['bulge_yes_fraction']
    np.testing.assert_allclose(column['bulge_yes_votes'], 40 * flat * bulge, rtol=1e-5)
    expected = -(bulge * np.log2(bulge) + (1 - bulge) * np.log2(1 - bulge))
    np.testing.assert_allclose(column['bulge_entropy'], expected, rtol=1e-4)
    np.testing.assert_allclose(column['flat_with_bulge'], flat * bulge, rtol=1e-5)
    np.testing.assert_allclose(column['shape_asked'], 1)
    assert 'shape_flat' not in column
    assert 'shape_flat_std' not in column


COLUMNS_WANTED = [
    'fraction',
    'dirichlet',
    'votes',
    'entropy',
    'asked',
    'flat_with_bulge = flat and bulge',
]


class TestColumnsOnDemand:
    def test_of_a_table(self, votes, cutouts):
        annotated = clone_fitted(votes, columns=COLUMNS_WANTED).annotate(cutouts)
        on_demand(annotated)
        for name in annotated.colnames[len(cutouts.table.colnames) :]:
            assert annotated[name].description
            parse_ucd(annotated[name].meta['ucd'], check_controlled_vocabulary=True)
        description = annotated['morph_flat_with_bulge'].description
        assert description == 'Probability of the votes: flat and bulge'

    def test_of_files_and_onnx(self, votes, cutouts, tmp_path):
        cutouts.write(tmp_path / 'cutouts.h5')
        votes.to_onnx(tmp_path / 'votes.onnx')
        light = OnnxVotes(tmp_path / 'votes.onnx', columns=COLUMNS_WANTED, verbose=0)
        on_demand(light.annotate(cutouts))
        for number, model in enumerate([light, clone_fitted(votes, columns=COLUMNS_WANTED)]):
            model.annotate_file(tmp_path / 'cutouts.h5', tmp_path / f'{number}.ecsv')
            on_demand(read_table(tmp_path / f'{number}.ecsv'))

    def test_one_kind_alone(self, votes, cutouts):
        annotated = clone_fitted(votes, columns=['entropy']).annotate(cutouts)
        assert annotated.colnames[len(cutouts.table.colnames) :] == [
            'morph_shape_entropy',
            'morph_bulge_entropy',
            'morph_flags',
            'morph_status',
        ]

    def test_rows_without_an_image_are_masked(self, votes, cutouts):
        status = np.where(np.arange(24) % 4 == 0, 'truncated', 'ok')
        images = np.where((status == 'ok')[:, None, None, None], cutouts.images, np.nan)
        broken = cutouts.replace(images=images, status=status)
        annotated = clone_fitted(votes, columns=COLUMNS_WANTED).annotate(broken)
        assert annotated['morph_status'].tolist() == status.tolist()
        for name in ('shape_entropy', 'flat_with_bulge', 'shape_asked', 'bulge_no_votes'):
            np.testing.assert_array_equal(annotated[f'morph_{name}'].mask, status != 'ok')

    def test_names_are_as_long_as_the_longest_answer(self, cutouts):
        tree = galaxy_zoo('ceers', '{question}_{answer}')
        counts = np.ones((24, len(VoteTree(tree).names)))
        fitted = MorphologyVotes(
            tree, encoder='random', columns='fraction', random_state=0, device='cpu', verbose=0
        ).fit(cutouts, counts)
        names = fitted.annotate(cutouts, prefix='').colnames
        assert 'smooth_or_featured_star_artifact_zoom_fraction' in names

    @pytest.mark.parametrize(
        ('columns', 'message'),
        [
            ('share', "columns has 'share', expected one of .*'dirichlet'.*, or a path"),
            (['x = lens'], "'lens' is no answer"),
        ],
    )
    def test_what_is_no_column_is_refused_before_the_work(self, cutouts, columns, message):
        with pytest.raises(ValueError, match=message):
            make_estimator(columns=columns).fit(cutouts)

    def test_a_model_of_classes_has_none(self, classifier, cutouts):
        with pytest.raises(ValueError, match='expected a model of votes; leave it out'):
            annotate(classifier.model_, cutouts, columns=['fraction'])


@pytest.fixture(scope='module')
def of_trees(cutouts):
    """A model of each tree, fitted to votes that were simulated along it."""
    is_flat = np.array(cutouts.table['morphology']) == 'edge_on'
    fitted = {}
    for survey in GALAXY_ZOO:
        tree = VoteTree(galaxy_zoo(survey))
        fractions = np.random.default_rng(0).uniform(0.2, 0.8, (1, len(tree.names))).repeat(24, 0)
        # The first answer of all is what the pictures show.
        fractions[:, 0] = np.where(is_flat, 9, 0.1)
        fractions /= tree.totals(fractions)[:, tree.question]
        are_fractions = survey == 'desi'
        asked = 40 * tree.asked(fractions)[:, tree.question]
        values = fractions if are_fractions else np.round(asked * fractions)
        table = cutouts.table.copy()
        table.add_columns(values.T.tolist(), names=tree.columns)
        options = {'voters': 40 if are_fractions else None, 'columns': ['fraction', 'dirichlet']}
        model = MorphologyVotes(survey, encoder='random', random_state=0, device='cpu', verbose=0)
        fitted[survey] = model.set_params(**options).fit(cutouts.replace(table=table))
    return fitted


@pytest.mark.parametrize('survey', GALAXY_ZOO)
def test_votes_of_every_tree_are_learnt(of_trees, survey, cutouts):
    is_flat = np.array(cutouts.table['morphology']) == 'edge_on'
    tree = VoteTree(galaxy_zoo(survey))
    predicted = of_trees[survey].predict(cutouts)
    assert predicted[is_flat, 0].min() > predicted[~is_flat, 0].max()
    np.testing.assert_allclose(tree.totals(predicted), 1)
    annotated = of_trees[survey].annotate(cutouts)
    names = annotated.colnames[len(cutouts.table.colnames) : -2]
    assert len(names) == 2 * len(tree.names)
    np.testing.assert_allclose(np.transpose([annotated[n] for n in names[::2]]), predicted, 1e-5)


def test_columns_of_every_tree_come_from_onnx(of_trees, cutouts, tmp_path):
    """The heads of all trees are written side by side, since each export takes seconds."""
    tree, heads = {}, []
    for number, (survey, votes) in enumerate(of_trees.items()):
        heads.append(votes.model_.network.head)
        for name, question in galaxy_zoo(survey).items():
            leading = question['asked_after'].items()
            tree[f'{number}-{name}'] = question | {
                'asked_after': {f'{number}-{before}': answers for before, answers in leading}
            }
    network = copy.deepcopy(of_trees['gz2'].model_.network)
    network.head = torch.nn.Linear(network.head.in_features, len(VoteTree(tree).names))
    with torch.no_grad():
        network.head.weight.copy_(torch.cat([head.weight for head in heads]))
        network.head.bias.copy_(torch.cat([head.bias for head in heads]))
    spec = dataclasses.replace(of_trees['gz2'].model_.spec, tree=tree, classes=VoteTree(tree).names)
    export(TorchModel(spec, network), tmp_path / 'votes.onnx')
    light = OnnxVotes(tmp_path / 'votes.onnx', columns=['fraction', 'dirichlet'], verbose=0)
    annotated = light.annotate(cutouts)
    for number, votes in enumerate(of_trees.values()):
        own = votes.annotate(cutouts)
        for name in own.colnames[len(cutouts.table.colnames) : -2]:
            came = annotated[f'morph_{number}_{name.removeprefix("morph_")}']
            np.testing.assert_allclose(came, own[name], rtol=1e-3, atol=1e-4)


class TestRefusals:
    def test_missing_column_is_named(self, cutouts):
        table = cutouts.table.copy()
        table.remove_column('n_flat')
        with pytest.raises(ValueError, match=r"tree names 'n_flat', which is not among"):
            make_estimator().fit(cutouts.replace(table=table))

    def test_column_of_text_is_refused(self, cutouts):
        table = cutouts.table.copy()
        table.replace_column('n_flat', ['many'] * 24)
        with pytest.raises(ValueError, match=r"'n_flat' of type .*, expected numbers"):
            make_estimator().fit(cutouts.replace(table=table))

    def test_no_votes_at_all(self, cutouts):
        with pytest.raises(ValueError, match='none has any votes'):
            make_estimator().fit(cutouts.images, np.zeros((24, 5)))

    def test_no_votes_where_there_are_images(self, cutouts):
        status = np.where(np.arange(24) < 20, 'truncated', 'ok')
        counts = np.outer(np.arange(24) < 20, [1, 1, 0, 1, 0])
        with pytest.raises(ValueError, match='none of the rows with an image has any votes'):
            make_estimator().fit(cutouts.replace(status=status), counts)

    def test_images_without_votes(self, cutouts):
        with pytest.raises(ValueError, match='requires y to be passed'):
            make_estimator().fit(cutouts.images)

    def test_column_of_voters_without_a_table(self, cutouts):
        with pytest.raises(ValueError, match='voters to be a number'):
            make_estimator(voters='people').fit(cutouts.images, np.full((24, 5), 0.5))

    def test_votes_of_another_length(self, cutouts):
        with pytest.raises(ValueError, match='y has 23 rows, X has 24'):
            make_estimator().fit(cutouts.images, np.ones((23, 5)))

    @pytest.mark.parametrize('voters', [0, -3, [40]])
    def test_wrong_voters(self, cutouts, voters):
        with pytest.raises(ValueError, match="'voters' parameter"):
            make_estimator(voters=voters).fit(cutouts)


class TestScikitLearn:
    def test_is_a_regressor_that_is_cloned(self):
        estimator = make_estimator(size=32)
        assert is_regressor(estimator)
        other = clone(estimator).set_params(voters=40)
        assert other.get_params()['size'] == 32
        assert other.get_params()['tree'] == TREE
        assert estimator.voters is None

    def test_survives_a_pickle(self):
        again = pickle.loads(pickle.dumps(make_estimator()))
        assert again.get_params() == make_estimator().get_params()

    def test_needs_to_be_fitted(self, cutouts, tmp_path):
        for task in ('predict', 'score', 'annotate'):
            with pytest.raises(NotFittedError):
                getattr(make_estimator(), task)(cutouts)
        with pytest.raises(NotFittedError):
            make_estimator().save(tmp_path / 'model.pt')

    def test_fit_changes_nothing_that_goes_in(self, cutouts):
        before = cutouts.table.copy()
        make_estimator().fit(cutouts)
        assert (cutouts.table == before).all()

    def test_cross_validation_over_cutouts_and_images_agree(self, cutouts):
        counts = np.column_stack([cutouts.table[name] for name in COLUMNS])
        of_cutouts = cross_val_score(make_estimator(), cutouts, cv=2)
        of_images = cross_val_score(make_estimator(), cutouts.images, counts, cv=2)
        np.testing.assert_array_equal(of_cutouts, of_images)

    def test_grid_search_of_features(self):
        random = np.random.default_rng(0)
        X, fractions = random.normal(size=(20, 3)), np.tile([0.5, 0.5, 0, 0.2, 0.8], (20, 1))
        search = GridSearchCV(make_estimator(), {'voters': [5, 50]}, cv=2).fit(X, fractions)
        assert np.isfinite(search.cv_results_['mean_test_score']).all()

    def test_features_of_another_width_are_refused(self):
        random = np.random.default_rng(0)
        fitted = make_estimator().fit(random.normal(size=(9, 3)), np.ones((9, 5)))
        with pytest.raises(ValueError, match=r'2 features, but .* expecting 3'):
            fitted.predict(random.normal(size=(9, 2)))

    def test_a_table_of_features_is_annotated_by_row(self):
        random = np.random.default_rng(0)
        X = random.normal(size=(9, 3))
        annotated = make_estimator().fit(X, np.ones((9, 5))).annotate(X)
        assert isinstance(annotated, Table)
        assert annotated['morph_status'].tolist() == ['ok'] * 9


def test_columns_of_one_name():
    tree = VoteTree(galaxy_zoo('gz2'))
    assert check_columns(['fraction', 'fraction'], tree)[0] == ['fraction']
    with pytest.raises(ValueError, match="two paths of the name 'a'"):
        check_columns(['a = smooth', 'a = featured'], tree)
