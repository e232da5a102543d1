# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read and write tables in files: whole, and in chunks of rows."""
