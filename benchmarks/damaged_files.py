# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Small valid files of every format that the package reads, and ways to damage them, for `fuzz`."""

import contextlib
import gzip
import io
import re
import struct
import zipfile
import zlib

import numpy as np

__all__ = [
    'CUTOUTS',
    'FORMATS',
    'IMAGES',
    'MODELS',
    'MOSAICS',
    'damage',
    'make_cutouts',
    'write_samples',
]

IMAGES = ('fits', 'fits.gz', 'fits.fz', 'jpeg', 'png', 'tiff', 'npy')
MOSAICS = ('mosaic.fits', 'mosaic.fits.fz')
TABLES = ('table.fits', 'table.h5', 'parquet', 'vot', 'ecsv', 'csv')
CUTOUTS = ('cutouts.h5',)
MODELS = ('pt', 'onnx')
FORMATS = (*IMAGES, *MOSAICS, *TABLES, *CUTOUTS, *MODELS)

# Small, so that much of a file is not pixels.
SIDE = 20

# Numbers at the edges of their types, and texts that some reader may take for something else.
EXTREMES = [0, 1, 2, *(2**n - k for n in (7, 8, 15, 16, 31, 32, 63, 64) for k in (0, 1))]
VALUES = ['', '0', '-1', '1e999', '1e-400', 'nan', '9' * 30, '*', 'T', "''", 'A' * 1000]
MARKS = ['\0', '\xff', '\u2028', '<', '"', ',', '{', '[', '&x;', '!!python/object:os.system']


def write_samples(folder, formats):
    """Write small valid files; return their contents by format."""
    writers = {
        IMAGES: write_images,
        MOSAICS: write_mosaics,
        TABLES: write_tables,
        CUTOUTS: write_cutouts,
        MODELS: write_models,
    }
    for names, write in writers.items():
        if set(names) & set(formats):
            write(folder)
    samples = {name: [] for name in formats}
    for path in sorted(folder.iterdir()):
        samples.get(path.name.partition('.')[2], []).append(path.read_bytes())
        path.unlink()
    return samples


def write_images(folder):
    from astropy.io import fits
    from PIL import Image

    noise = np.random.default_rng(0)
    flux = noise.normal(100, 10, (SIDE, SIDE)).astype(np.float32)
    counts = flux.astype(np.int16)
    fits.PrimaryHDU(flux).writeto(folder / 'flux.fits')
    scaled = fits.PrimaryHDU(counts)
    scaled.scale('int16', bzero=32768)
    hdus = [
        scaled,
        fits.ImageHDU(np.stack([flux] * 3), name='SCI'),
        fits.ImageHDU(flux, name='WHT'),
    ]
    fits.HDUList(hdus).writeto(folder / 'many.fits')
    (folder / 'flux.fits.gz').write_bytes(gzip.compress((folder / 'flux.fits').read_bytes()))
    for name in ('RICE_1', 'GZIP_1', 'GZIP_2', 'HCOMPRESS_1', 'PLIO_1'):
        image = fits.CompImageHDU(np.abs(counts) if name == 'PLIO_1' else flux, None, name)
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(folder / f'{name}.fits.fz')
    colours = noise.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    picture, grey = Image.fromarray(colours), Image.fromarray(colours[..., 0])
    for name, image in {'colour': picture, 'grey': grey, 'cmyk': picture.convert('CMYK')}.items():
        image.save(folder / f'{name}.jpeg')
    picture.save(folder / 'progressive.jpeg', progressive=True)
    picture.save(folder / 'colour.png')
    picture.quantize(16).save(folder / 'palette.png')
    Image.fromarray(counts.astype(np.uint16)).save(folder / 'deep.png')
    picture.save(folder / 'plain.tiff')
    for name in ('tiff_lzw', 'tiff_adobe_deflate', 'jpeg', 'packbits'):
        picture.save(folder / f'{name}.tiff', compression=name)
    pages = [Image.fromarray(flux), Image.fromarray(flux.T)]
    pages[0].save(folder / 'pages.tiff', save_all=True, append_images=pages[1:])
    np.save(folder / 'flux.npy', flux)


def write_mosaics(folder):
    from astropy.io import fits

    header = fits.Header({'CTYPE1': 'RA---TAN', 'CTYPE2': 'DEC--TAN', 'CRVAL1': 150.0})
    header.update(CRVAL2=2.0, CRPIX1=20.0, CRPIX2=20.0, CDELT1=-1e-4, CDELT2=1e-4)
    flux = np.random.default_rng(3).normal(size=(40, 40)).astype(np.float32)
    fits.PrimaryHDU(flux, header).writeto(folder / 'flux.mosaic.fits')
    scaled = fits.ImageHDU((100 * flux).astype(np.int16), header)
    scaled.header.update(BSCALE=0.01, BZERO=1.0)
    hdus = [fits.PrimaryHDU(), scaled, fits.ImageHDU(flux, header)]
    fits.HDUList(hdus).writeto(folder / 'many.mosaic.fits')
    for name in ('RICE_1', 'HCOMPRESS_1'):
        image = fits.CompImageHDU(flux, header, compression_type=name)
        image.writeto(folder / f'{name}.mosaic.fits.fz')


def write_tables(folder):
    import astropy.units as u
    from astropy.table import MaskedColumn, Table

    from astro_morph.catalog.io.tables import write_table

    n = 20
    table = Table(
        {
            'id': np.arange(n),
            'ra': np.linspace(0, 359, n) * u.deg,
            'dec': np.linspace(-90, 90, n) * u.deg,
            'name': [f'galaxy {number}' for number in range(n)],
            'is_good': np.arange(n) % 2 == 0,
            'flux': MaskedColumn(np.ones(n, np.float32), mask=np.arange(n) % 3 == 0),
        },
        meta={'SURVEY': 'simulated'},
    )
    for name in TABLES:
        write_table(table, folder / f'catalog.{name}')
    table.write(folder / 'binary.vot', format='votable', tabledata_format='binary')
    table.write(folder / 'binary2.vot', format='votable', tabledata_format='binary2')


def make_cutouts(n):
    from astropy.table import Table

    from astro_morph import CutoutSet

    noise = np.random.default_rng(1)
    images = noise.normal(size=(n, 2, SIDE, SIDE))
    images[::2, :, 4:12, 4:12] += 10
    table = Table({'id': np.arange(n), 'morphology': np.resize(['bright', 'faint'], n)})
    return CutoutSet(images, bands='gr', table=table)


def write_cutouts(folder):
    from astro_morph import CutoutSet

    make_cutouts(3).write(folder / 'flux.cutouts.h5')
    pictures = np.random.default_rng(2).integers(0, 256, (2, 3, SIDE, SIDE), np.uint8)
    CutoutSet(pictures, kind='picture').write(folder / 'picture.cutouts.h5')


def write_models(folder):
    from astro_morph import MorphologyClassifier

    options = {'random_state': 0, 'device': 'cpu', 'verbose': 0}
    cutouts = make_cutouts(60)
    of_images = MorphologyClassifier(encoder='random', strategy='linear', **options).fit(cutouts)
    features = cutouts.images.mean(axis=(2, 3))
    of_features = MorphologyClassifier(**options).fit(features, cutouts.table['morphology'])
    of_images.save(folder / 'images.pt')
    of_features.save(folder / 'features.pt')
    of_images.to_onnx(folder / 'images.onnx')


def damage(content, name, chance):
    """Damage the content of a file once to three times; return it, and what was done."""
    done = []
    for _ in range(chance.randint(1, 3)):
        way = chance.choice([flip_bits, cut_off, swap_pieces, repeat_piece, *[change_field] * 4])
        content = inside(content, name, way, chance)
        done.append(way.__name__)
    return content, done


def inside(content, name, way, chance):
    """Damage the file, or what it holds under a compression or a checksum."""
    if name == 'fits.gz' and chance.random() < 0.7:
        with contextlib.suppress(OSError, EOFError, zlib.error):
            return gzip.compress(way(gzip.decompress(content), 'fits', chance), 1)
    if name == 'pt' and chance.random() < 0.7:
        # The index error is that of an archive without files.
        faults = zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, IndexError
        with contextlib.suppress(*faults):
            return damage_member(content, way, chance)
    return way(content, name, chance)


def damage_member(content, way, chance):
    """Damage one file of an archive, mostly the one that describes the others."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    main = [name for name in members if name.endswith('data.pkl')]
    chosen = chance.choice(main if main and chance.random() < 0.7 else list(members))
    members[chosen] = way(members[chosen], 'member', chance)
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def place(content, chance):
    """Choose a position, mostly near the beginning or the end, where most fields are."""
    n = max(len(content), 1)
    near = chance.randrange(min(n, chance.choice([300, 3000, 30_000])))
    return chance.choice([near, n - 1 - near, chance.randrange(n)])


def flip_bits(content, name, chance):
    damaged = bytearray(content)
    for _ in range(chance.choice([1, 2, 8, 32]) if damaged else 0):
        damaged[place(content, chance)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def cut_off(content, name, chance):
    return content[: place(content, chance)]


def swap_pieces(content, name, chance):
    length = chance.choice([1, 8, 80, 500])
    first, second = sorted([place(content, chance), place(content, chance)])
    if second - first < length:
        return content
    middle = content[first + length : second]
    pieces = content[second : second + length], middle, content[first : first + length]
    return content[:first] + b''.join(pieces) + content[second + length :]


def repeat_piece(content, name, chance):
    start, length = place(content, chance), chance.choice([1, 8, 80, 2880])
    piece = content[start : start + length]
    return content[:start] + piece * chance.choice([2, 3, 100]) + content[start + length :]


def change_field(content, name, chance):
    if name.endswith(('fits', 'fits.fz')):
        return change_card(content, chance)
    if name in ('vot', 'ecsv', 'csv'):
        return change_token(content, chance)
    if name == 'png':
        return change_chunk(content, chance)
    return change_number(content, chance)


def change_card(content, chance):
    found = (match.start() for match in re.finditer(rb'[A-Z0-9_-]{1,8} *= ', content))
    cards = [start for start in found if start % 80 == 0]
    if not cards:
        return change_number(content, chance)
    start = chance.choice(cards)
    value = chance.choice([*VALUES, str(chance.choice(EXTREMES)), str(-chance.choice(EXTREMES))])
    card = (content[start : start + 10] + value.encode().rjust(20))[:80].ljust(80)
    return content[:start] + card + content[start + 80 :]


def change_token(content, chance):
    tokens = list(re.finditer(rb'[\w.+-]+', content))
    if not tokens:
        return content
    token = chance.choice(tokens)
    texts = [*VALUES, *MARKS, *map(str, EXTREMES)]
    value = chance.choice([chance.choice(texts).encode(), chance.choice(tokens)[0]])
    return content[: token.start()] + value + content[token.end() :]


def change_chunk(content, chance):
    """Change a number in a chunk of a PNG file, and its checksum with it."""
    chunks, start = [], 8
    while start + 12 <= len(content):
        (length,) = struct.unpack('>I', content[start : start + 4])
        if start + 12 + length > len(content):
            break
        chunks.append((start, length))
        start += 12 + length
    if not chunks or chance.random() < 0.3:
        return change_number(content, chance)
    start, length = chance.choice(chunks)
    body = change_number(content[start + 4 : start + 8 + length], chance)
    body += struct.pack('>I', zlib.crc32(body))
    return content[: start + 4] + body + content[start + 12 + length :]


def change_number(content, chance):
    width = chance.choice([1, 2, 4, 8])
    number = chance.choice(EXTREMES) % 256**width
    start = place(content, chance)
    field = number.to_bytes(width, chance.choice(['little', 'big']))
    return (content[:start] + field + content[start + width :])[: len(content)]
