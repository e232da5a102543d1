# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Training in several processes: they agree on all, and learn as one process does."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from astro_morph import MorphologyEncoder, __version__
from astro_morph.learning.training import processes
from astro_morph.tests.helpers import make_blobs

N_PROCESSES = 2
N_EPOCHS = 25

# The script of each process, which saves its results to a file of its own.
SCRIPT = """
import sys
import torch
from astro_morph.learning.training import processes
from astro_morph.tests.learning.test_processes import pretrain

processes.join()
torch.save(pretrain(seed=processes.rank()), f'{sys.argv[1]}/{processes.rank()}.pt')
"""


def pretrain(*, seed=0):
    """Train MoCo on blobs of many colours; return its state, the history and the rows it saw."""
    from astro_morph.learning.objectives import MoCo
    from astro_morph.learning.training.loop import sgd, train
    from astro_morph.learning.training.views import RandomViews
    from astro_morph.tests.learning.test_training import SmallEncoder

    torch.manual_seed(seed)
    encoder = SmallEncoder()
    # In two processes, batch statistics would be those of half a batch.
    encoder[1] = torch.nn.GroupNorm(2, encoder.n_features)
    colours = np.exp(np.random.default_rng(0).normal(size=(65, 2, 1, 1)))
    objective = MoCo(encoder, RandomViews(20), queue_size=32, temperature=0.2, momentum=0.9)
    rows = []
    objective.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[1].tolist()))
    history = train(
        objective,
        make_blobs(65, size=20, random_state=1).images * colours,
        sgd(objective, learning_rate=0.05),
        epochs=N_EPOCHS,
        batch_size=16,
        device=torch.device('cpu'),
        random_state=3,
        verbose=False,
    )
    return {'state': objective.state_dict(), 'history': history, 'rows': rows}


def torchrun(*arguments):
    """Run a script or module in two processes on this machine."""
    launcher = ['torch.distributed.run', '--standalone', f'--nproc-per-node={N_PROCESSES}']
    return subprocess.run(
        [sys.executable, '-m', *launcher, *map(str, arguments)],
        env=os.environ | {'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or sys.platform == 'win32',
    reason='torchrun does not work here',
)


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    """The results of two processes."""
    folder = tmp_path_factory.mktemp('processes')
    (folder / 'script.py').write_text(SCRIPT)
    done = torchrun(folder / 'script.py', folder)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f'{rank}.pt') for rank in range(N_PROCESSES)]


def test_weights_and_queue_are_the_same_in_all_processes(results):
    first, second = (result['state'] for result in results)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert torch.equal(first['queue_rows'], second['queue_rows'])
    # Keys of several galaxies, not one row repeated.
    assert len(first['queue'].unique(dim=0)) == len(first['queue'])


def test_queue_holds_the_rows_that_both_have_seen_last(results):
    seen = [row for result in results for row in result['rows'][-1]]
    queue_rows = results[0]['state']['queue_rows'].tolist()
    assert queue_rows[: len(seen)] == seen


def test_each_row_is_seen_once_an_epoch_by_one_process(results):
    n_batches = 5
    left_out = []
    for epoch in range(N_EPOCHS):
        part = slice(epoch * n_batches, (epoch + 1) * n_batches)
        batches = [result['rows'][part] for result in results]
        seen = [row for process in batches for batch in process for row in batch]
        assert len(seen) == len(set(seen)) == 64
        assert [len(batch) for batch in batches[0]] == [len(batch) for batch in batches[1]]
        left_out.extend(set(range(65)) - set(seen))
    assert len(set(left_out)) > N_EPOCHS / 2


def test_history_is_that_of_all_processes(results):
    first, second = ([r['loss'] for r in result['history']] for result in results)
    assert first == second


def test_loss_falls_as_in_one_process_with_the_same_batch(results):
    with torch.random.fork_rng():
        alone = pretrain()
    for history in (results[0]['history'], alone['history']):
        losses = [record['loss'] for record in history]
        # It rises at first, while the queue fills.
        assert max(losses) > 2.3
        assert np.mean(losses[-5:]) == pytest.approx(1.77, abs=0.1)


def test_command_line_pretrains_in_several_processes(tmp_path):
    make_blobs(16).write(tmp_path / 'blobs.h5')
    options = ['--epochs', 1, '--batch-size', 8, '--checkpoint', tmp_path / 'run.pt']
    done = torchrun(
        '-m', 'astro_morph', 'pretrain', tmp_path / 'blobs.h5', tmp_path / 'encoder.pt', *options
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {'blobs.h5', 'encoder.pt', 'run.pt'}
    features = MorphologyEncoder.load(tmp_path / 'encoder.pt', verbose=0).transform(make_blobs(2))
    assert np.isfinite(features).all()


def test_processes_with_other_images_are_told_so(tmp_path):
    (tmp_path / 'script.py').write_text(
        'import numpy as np\n'
        'from astro_morph import MorphologyEncoder\n'
        'from astro_morph.learning.training import processes\n'
        'images = np.ones((8 + processes.rank(), 1, 20, 20))\n'
        'MorphologyEncoder(epochs=1, preprocessing=None, verbose=0).fit(images)\n'
    )
    done = torchrun(tmp_path / 'script.py')
    assert done.returncode != 0
    assert 'the processes do not have the same images' in done.stderr


def test_process_that_is_alone_needs_no_others():
    tensor = torch.arange(6)
    assert processes.n_processes() == 1
    assert processes.is_first()
    for function in (processes.gather, processes.share, processes.broadcast, processes.total):
        assert function(tensor) is tensor
    assert processes.largest(2.0, 3) == [2.0, 3]
    assert processes.wrap(torch.nn.Identity()).__class__ is torch.nn.Identity


def test_package_runs_as_a_module():
    program = [sys.executable, '-m', 'astro_morph', '--version']
    ended = subprocess.run(program, capture_output=True, text=True)
    assert ended.returncode == 0
    assert ended.stdout.strip() == __version__
