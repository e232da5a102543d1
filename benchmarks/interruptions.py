# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Kill runs of `annotate_file` at random moments, and start two at once: is any output wrong?

It prints its seed, how many runs were complete or refused, and each output that is neither that of
an undisturbed run nor left as it was; the exit code is 1 if there is one. Fifty kills and twenty
pairs take two minutes.

    python benchmarks/interruptions.py
    python benchmarks/interruptions.py --kills 500 --pairs 200 --seed 7
"""

import sys

from astro_morph.tests.prediction.interruptions import main

if __name__ == '__main__':
    sys.exit(main())
