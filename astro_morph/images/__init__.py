# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""One image: read from any file, its place on the sky, stamps cut from it, pictures drawn of it."""
