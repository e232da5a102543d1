# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""``python -m astro_morph``: the command line, as torchrun starts it."""

import sys

from astro_morph.cli import main

sys.exit(main())
