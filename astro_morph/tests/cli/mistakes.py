# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Mistakes that people make at the command line, with the files that they make them with."""

import gzip
import zipfile
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

__all__ = ['MISTAKES', 'Mistake', 'make_files']

N_ROWS = 24


class Mistake(NamedTuple):
    """A command line, its exit code, and a part of its one line on standard error."""

    command: str
    says: str
    code: int = 1


TILES = "--source 'tiles/*-{band}.fits'"

MISTAKES = [
    # An index, and its examples.
    Mistake('search survey.fits --like 3', "'survey.fits' is no search index"),
    Mistake('search none --like nothing', "'nothing' must be the number of a row", code=2),
    Mistake('search none --like 10,100', "'10,100' is no position RA,DEC", code=2),
    Mistake(f'index servey.fits o.index --model model.pt {TILES}', "no file 'servey.fits'"),
    Mistake(f'index survey.fits tiles --model model.pt {TILES}', 'exists already'),
    # The catalogue.
    Mistake(f'annotate servey.fits out.fits --model model.pt {TILES}', "no file 'servey.fits'"),
    Mistake(f'fit tiles out.pt {TILES}', "'tiles' is a folder; name a file in it"),
    Mistake(f'fit survey.fits out.pt --tree gz2 --target ra {TILES}', 'give one of them'),
    Mistake(f'fit survey.fits out.pt --tree gz2 --strategy rare {TILES}', 'leave out --strategy'),
    Mistake(f'fit survey.fits out.pt --target ra --strategy rare {TILES}', 'rare is for classes'),
    Mistake(f'fit notes.txt out.pt {TILES}', "'notes.txt' must end in one of .fits"),
    Mistake(f'fit empty.fits out.pt {TILES}', "catalogue 'empty.fits' cannot be read"),
    Mistake(f'annotate half.fits o.fits --model model.pt {TILES}', "'half.fits' cannot be read"),
    Mistake(f'annotate half.fits.gz o.fits --model model.pt {TILES}', "'half.fits.gz' cannot be"),
    Mistake(f'evaluate error.vot --model model.pt {TILES}', 'row limit of the service'),
    Mistake(f'fit page.fits out.pt {TILES}', "'page.fits' cannot be read"),
    Mistake(f'fit broken.h5 out.pt {TILES}', "'broken.h5' cannot be read"),
    Mistake(f'fit none.csv out.pt {TILES}', 'the labels hold 0 classes'),
    # Its columns.
    Mistake(f'fit survey.fits out.pt --labels class {TILES}', "--labels names 'class'"),
    Mistake(f'fit survey.fits out.pt --labels same {TILES}', 'the labels hold 1 class'),
    Mistake(f'fit survey.fits out.pt --labels id {TILES}', 'look like identifiers'),
    Mistake(
        f'evaluate survey.fits --model model.pt --labels seen {TILES}', "--labels names 'seen'"
    ),
    Mistake(f'fit names.csv out.pt {TILES}', 'as in --coord-columns ra dec'),
    Mistake(f'fetch survey.fits --coord-columns RA DE {TILES}', "--coord-columns names 'RA'"),
    Mistake(f"fit survey.fits out.pt --size '4*radius' {TILES}", "has no column 'radius', only"),
    Mistake(f"fit survey.fits out.pt --size '4*(ra' {TILES}", '--size must be a column and a fac'),
    Mistake(f"fit survey.fits out.pt --size '4*same' {TILES}", "--size names the column 'same'"),
    Mistake('fit paths.csv out.pt --image-column file', "no column 'file'"),
    Mistake(f'annotate annotated.fits o.fits --model model.pt {TILES}', 'use --overwrite to repl'),
    # The images.
    Mistake('annotate survey.fits out.fits --model model.pt', 'pass --source the name of a survey'),
    Mistake('fit survey.fits out.pt --source legacy-dr99', '--source must be the name of a survey'),
    Mistake("fit survey.fits out.pt --source 'tile/*.fits'", 'which matches no file'),
    Mistake('fetch survey.fits --survey none.toml', "there is no file 'none.toml' of a survey"),
    Mistake(f'fetch survey.fits --bands q {TILES}', "--bands names ['q']"),
    Mistake(f'fetch survey.fits --zero-point 22.5,22.5 {TILES}', '--zero-point has 2 values'),
    Mistake('fetch survey.fits --source legacy-dr10 --zero-point 22.5', '--zero-point is for FITS'),
    Mistake('fetch survey.fits --source sdss-dr9 --planes', '--planes: Hips2Fits has neither'),
    Mistake("fit survey.fits out.pt --source 'notes*'", 'notes.txt is left out: not a FITS file'),
    Mistake('fetch survey.fits --source sdss-dr9 --bands x', '--bands: the survey'),
    # The model.
    Mistake(f'annotate survey.fits out.fits --model modle.pt {TILES}', "no file 'modle.pt'"),
    Mistake(f'annotate survey.fits out.fits --model sdss {TILES}', "one of ['gz2-5class'"),
    Mistake(f'annotate survey.fits o.fits --model survey.fits {TILES}', 'is no model of astro_mor'),
    Mistake(f'fit survey.fits out.pt --encoder encodr.pt {TILES}', '--encoder must be the file of'),
    Mistake('export out.onnx --model model.onnx', 'is an ONNX file already'),
    Mistake('export out.onnx --model model.pt --precision int8', 'a few hundred galaxies as --on'),
    # The output.
    Mistake(f'annotate survey.fits there.fits --model model.pt {TILES}', 'use --overwrite to rep'),
    Mistake(f'annotate survey.fits out.txt --model model.pt {TILES}', "'out.txt' must end in one"),
    Mistake(f'annotate survey.fits notes.txt/o.fits --model model.pt {TILES}', 'cannot be written'),
    Mistake(
        f'annotate survey.fits tiles.fits --model model.pt {TILES}', "'tiles.fits' is a folder"
    ),
    Mistake(f'annotate survey.fits {"long" * 70}.fits --model model.pt {TILES}', 'name too long'),
    Mistake(f'fit model.pt survey.fits {TILES}', "the output 'survey.fits' must end in .pt"),
    Mistake(f'fit survey.fits model.onnx {TILES}', "the output 'model.onnx' must end in .pt"),
    Mistake('export model.pth --model model.pt', "the output 'model.pth' must end in .onnx"),
    Mistake(f'evaluate survey.fits --model model.pt --report page.html {TILES}', 'use --overwrite'),
    Mistake(
        f'evaluate survey.fits --model model.pt --report model.pt {TILES}', 'must end in .html'
    ),
    Mistake(f'pretrain survey.fits e.pt --checkpoint e.pt {TILES}', '--checkpoint e.pt is the cat'),
    Mistake('demo --output notes.txt', '--output notes.txt is a file; name a folder'),
    # Labelling by eye, and the cache.
    Mistake(f'label names.csv --classes spiral {TILES}', 'as in --coord-columns ra dec'),
    Mistake(f'label survey.fits --classes round --labels new {TILES}', 'at least two classes'),
    Mistake(f'label survey.fits --output names.csv {TILES}', 'is not this catalogue of 24 rows'),
    Mistake('cache --max-size 2GB', '--max-size is for prune, not for show'),
    # What the parser sees.
    Mistake('', 'the following arguments are required: task', 2),
    Mistake('anotate survey.fits', "invalid choice: 'anotate'", 2),
    Mistake('fit survey.fits', 'the following arguments are required: output', 2),
    Mistake('fit survey.fits out.pt --overwite', 'unrecognized arguments: --overwite', 2),
    Mistake('fit survey.fits out.pt --strategy finetune', "invalid choice: 'finetune'", 2),
    Mistake('fit survey.fits out.pt --tree gz3', "--tree: invalid choice: 'gz3'", 2),
    Mistake('fit survey.fits out.pt --epochs ten', "--epochs: 'ten' must be a whole number", 2),
    Mistake('fit survey.fits out.pt --max-time 1h', "--max-time: '1h' must be a number", 2),
    Mistake('fit survey.fits out.pt --bands g,,r', "--bands: 'g,,r' must be different names", 2),
    Mistake('fetch survey.fits --size 8', "--size: '8' must be a whole number from 17", 2),
    Mistake(
        "fetch survey.fits --size '30 arcsek'", "--size: '30 arcsek' must be a number above", 2
    ),
    Mistake('fetch survey.fits --zero-point AB', "--zero-point: 'AB' must be a number", 2),
    Mistake('fetch survey.fits --output images.fits', "'images.fits' must end in .h5", 2),
    Mistake('annotate survey.fits o.fits --coord-columns ra', 'expected 2 arguments', 2),
    Mistake('label survey.fits --port http', "--port: 'http' must be a whole number", 2),
    Mistake('label survey.fits --classes spiral,spiral', '--classes: ', 2),
    Mistake('cache prune --max-size 2', "--max-size: '2' must be a number above 0 and a unit", 2),
]


def make_files(folder):
    """Write a catalogue, mosaics, models that nobody reads, and damaged files."""
    random = np.random.default_rng(0)
    catalogue = Table(
        {
            'id': np.arange(N_ROWS),
            'ra': 180 + random.uniform(-0.01, 0.01, N_ROWS),
            'dec': 5 + random.uniform(-0.01, 0.01, N_ROWS),
            'morphology': np.resize(['spiral', 'round', ''], N_ROWS),
            'same': ['spiral'] * N_ROWS,
        }
    )
    catalogue.write(folder / 'survey.fits')
    catalogue.write(folder / 'there.fits')
    whole = (folder / 'survey.fits').read_bytes()
    (folder / 'half.fits').write_bytes(whole[: len(whole) // 2])
    packed = gzip.compress(whole)
    (folder / 'half.fits.gz').write_bytes(packed[: len(packed) // 2])
    (folder / 'empty.fits').touch()
    (folder / 'broken.h5').write_bytes(b'\x89HDF\r\n\x1a\n')
    (folder / 'page.fits').write_text('<!DOCTYPE html><html><body>404 Not Found</body></html>')
    (folder / 'error.vot').write_text(
        '<?xml version="1.0"?><VOTABLE version="1.4" '
        'xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">'
        '<INFO name="QUERY_STATUS" value="ERROR">row limit of the service</INFO>'
        '</RESOURCE></VOTABLE>'
    )
    (folder / 'notes.txt').write_text('ra dec\n1 2\n')
    (folder / 'page.html').write_text('a report')
    catalogue['id', 'morphology'].write(folder / 'names.csv')
    catalogue['ra', 'dec', 'morphology'][:0].write(folder / 'none.csv')
    Table({'path': ['a.png', 'b.png'], 'morphology': ['a', 'b']}).write(folder / 'paths.csv')
    catalogue['morph_status'] = 'ok'
    catalogue.write(folder / 'annotated.fits')
    with zipfile.ZipFile(folder / 'model.pt', 'w') as file:
        file.writestr('data.pkl', b'')
    (folder / 'model.onnx').touch()
    (folder / 'tiles.fits').mkdir()
    (folder / 'tiles').mkdir()
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (180, 5), (100, 100), (-1e-4, 1e-4)
    image = random.normal(size=(200, 200)).astype('f4')
    fits.PrimaryHDU(image, wcs.to_header()).writeto(folder / 'tiles' / 'sky-r.fits')
