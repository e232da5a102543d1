# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Benchmarks that asv tracks over the commits; they call those in the folder ``benchmarks``."""

import sys
from pathlib import Path

# Behind all packages: some benchmarks have the names of packages.
sys.path.append(str(Path(__file__).parents[2]))
