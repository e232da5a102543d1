# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Images on web servers and in object storage, read only where needed."""
