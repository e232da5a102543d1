# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of servers that drip, never end, lie or redirect: each service gives the row a status."""

import gzip
import io
import time
import tracemalloc
import zipfile
import zlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import requests
from urllib3.connection import HTTPConnection

from astro_morph import conf, surveys
from astro_morph.cutouts import (
    DjaCutouts,
    EsaEuclid,
    EuclidMosaics,
    FetchError,
    Hips2Fits,
    HscCutouts,
    LegacyCutouts,
    MastCutouts,
    PanStarrsCutouts,
    RubinCutouts,
    SdssFrames,
    SiaImages,
    SkyView,
    WfauImages,
)
from astro_morph.cutouts.fetching import http
from astro_morph.simulation import serve
from astro_morph.simulation.services import Answer, Server, faults
from astro_morph.simulation.services.accounts.hsc import ACCOUNT
from astro_morph.simulation.services.accounts.rubin import TOKEN
from astro_morph.tests.skies import coords_at, ramp_sky

# What the server does, and the status that follows within a time-out and a size of a megabyte.
FAULTS = {
    'drip': (faults.drip(), 'timeout'),
    'drip of headers': (faults.drip_headers(), 'timeout'),
    'endless body': (faults.endless(), 'too_large'),
    'gzip bomb': (faults.gzip_bomb(100_000_000), 'too_large'),
    'endless redirection': (faults.redirect('/x'), 'http_302'),
    'redirection to a file': (faults.redirect('file:///etc/passwd'), 'http_302'),
    'redirection to FTP': (faults.redirect('ftp://127.0.0.1/x'), 'http_302'),
}

hips2fits = '/hips-image-services/hips2fits'
SERVICES = {
    'hips2fits': lambda url: Hips2Fits(
        'sdss-dr9', bands='r', server=f'{url}{hips2fits}', cache=False
    ),
    'pictures of hips2fits': lambda url: Hips2Fits(
        'sdss-dr9', bands='rgb', server=f'{url}{hips2fits}', cache=False
    ),
    'SkyView': lambda url: SkyView(
        'sdss', bands='r', server=f'{url}/current/cgi/basicform.pl', cache=False
    ),
    'HAP': lambda url: MastCutouts('hst-hap', bands=['F814W'], server=url, cache=False),
    'CANDELS': lambda url: MastCutouts('candels', bands=['F814W'], server=url, cache=False),
    'SDSS': lambda url: SdssFrames(bands='r', server=url, cache=False),
    'SIA 1': lambda url: _sia(f'{url}/sia1'),
    'SIA 2': lambda url: _sia(f'{url}/SIA'),
    'Euclid': lambda url: EuclidMosaics(bands=['VIS'], server=f'{url}/euclid/SIA', cache=False),
    'Euclid of ESA': lambda url: EsaEuclid(bands=['VIS'], server=url, cache=False),
    'UKIDSS': lambda url: WfauImages('ukidss-las', bands='K', server=f'{url}/wsa', cache=False),
    'VISTA': lambda url: WfauImages('vhs', bands=['Ks'], server=f'{url}/vdfs', cache=False),
    'Legacy Surveys': lambda url: LegacyCutouts(bands='r', server=url, cache=False, planes=True),
    'DJA': lambda url: DjaCutouts(bands=['F444W'], server=url, cache=False, planes=True),
    'Pan-STARRS': lambda url: PanStarrsCutouts(bands='r', server=url, cache=False, planes=True),
    'Rubin': lambda url: RubinCutouts(
        bands='r', server=f'{url}/api/sia/dp1/query', token=TOKEN, cache=False, planes=True
    ),
    'HSC': lambda url: HscCutouts(
        bands='r',
        server=f'{url}/das_cutout/pdr3/cgi-bin/cutout',
        account=ACCOUNT,
        cache=False,
        planes=True,
    ),
}


def _sia(address):
    survey = replace(surveys.get('sdss'), ids={'sia': (address, 'simulated')})
    return SiaImages(survey, bands='r', cache=False)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    http._host.cache_clear()
    monkeypatch.setattr(http, 'BACK_OFF', 0.01)
    with (
        conf.set_temp('requests_per_second', 1000.0),
        conf.set_temp('tries', 1),
        conf.set_temp('timeout', 10.0),
        conf.set_temp('max_answer_size', 0.001),
    ):
        yield


@pytest.fixture(scope='module')
def sky():
    return ramp_sky(300)


def impatience(fault):
    """Answers that drip need no patience; others may be slow on a busy machine."""
    return conf.set_temp('timeout', 0.1 if 'drip' in fault else 10.0)


@pytest.mark.parametrize('fault', FAULTS)
@pytest.mark.parametrize('service', SERVICES)
def test_every_service_makes_it_a_status(service, fault, sky):
    answer, status = FAULTS[fault]
    with impatience(fault), serve(sky, faults=lambda request: answer) as server:
        cutouts = SERVICES[service](server.url).fetch(coords_at(sky, [150], [150]), size=16)
    assert list(cutouts.status) == [status]
    assert np.isnan(cutouts.images).all()


def hello(**options):
    """Serve a word at any path."""
    sky = SimpleNamespace(flux=None)
    return Server(sky, {'/': lambda sky, request: Answer('hello', 'text/plain')}, **options)


@pytest.fixture
def session():
    session = requests.Session()
    http.be_polite(session)
    return session


WAYS = {
    'content': lambda session, url: session.get(url).content,
    'stream': lambda session, url: b''.join(session.get(url, stream=True).iter_content(100)),
    'raw': lambda session, url: session.get(url, stream=True).raw.read(decode_content=True),
}

all_ways = pytest.mark.parametrize('way', WAYS)


@all_ways
@pytest.mark.parametrize('encoding', ['identity', 'gzip', 'deflate', 'gzip, gzip'])
def test_a_client_reads_the_body_as_it_likes(session, way, encoding):
    body = np.arange(5000).tobytes()
    sent = body
    for name in encoding.split(', '):
        sent = {'identity': bytes, 'gzip': gzip.compress, 'deflate': zlib.compress}[name](sent)
    with hello(faults=[faults.status(200, sent, Content_Encoding=encoding)]) as server:
        assert WAYS[way](session, server.url) == body


@all_ways
@pytest.mark.parametrize('fault', FAULTS)
def test_a_limit_holds_however_the_body_is_read(session, way, fault):
    answer, status = FAULTS[fault]
    with impatience(fault), hello(faults=lambda request: answer) as server:
        if status == 'http_302':
            with pytest.raises(requests.RequestException):
                WAYS[way](session, server.url)
            assert len(server.requests) <= http.MAX_REDIRECTS + 1
        else:
            with pytest.raises(FetchError) as info:
                WAYS[way](session, server.url)
            assert info.value.status == status
            assert info.value.is_network == (status == 'timeout')


@pytest.mark.parametrize('n_layers', [1, 2])
def test_a_bomb_takes_little_memory(session, n_layers):
    bomb = gzip.compress(bytes(100_000_000))
    if n_layers == 2:
        bomb = gzip.compress(bomb)
    encoding = ', '.join(['gzip'] * n_layers)
    answer = faults.status(200, bomb, Content_Encoding=encoding)
    with hello(faults=[answer]) as server:
        tracemalloc.start()
        with pytest.raises(FetchError, match=r'more than 0\.001 GB.*max_answer_size'):
            session.get(server.url)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 20_000_000


def test_an_announced_size_is_refused_before_it_comes(session):
    answer = faults.status(200, 'short', Content_Length=10**11)
    with hello(faults=[answer]) as server, pytest.raises(FetchError) as info:
        session.get(server.url)
    assert info.value.status == 'too_large'


def test_a_size_that_is_too_large_is_not_asked_for_again(session):
    with conf.set_temp('tries', 4), hello(faults=lambda request: faults.endless()) as server:
        with pytest.raises(FetchError):
            session.get(server.url)
        assert len(server.requests) == 1


def test_an_archive_is_as_large_as_what_it_holds(sky):
    """Clients read all files of a zip archive into memory."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('hst_f814w.fits', bytes(10_000_000))
    answer = faults.status(200, archive.getvalue())
    with serve(sky, faults=lambda request: answer) as server:
        source = SERVICES['HAP'](server.url)
        assert list(source.fetch(coords_at(sky, [150], [150]), size=16).status) == ['too_large']


def test_a_large_answer_may_take_longer_than_the_time_out(session):
    """While it comes at a useful speed."""

    def slowly():
        yield b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 80000\r\n\r\n'
        for _ in range(16):
            time.sleep(0.05)
            yield bytes(5_000)

    answer = Answer(b'', stream=slowly)
    with conf.set_temp('timeout', 0.6), hello(faults=lambda request: lambda _: answer) as server:
        assert len(session.get(server.url).content) == 80_000
        with conf.set_temp('max_answer_time', 0.2), pytest.raises(FetchError) as info:
            session.get(server.url)
    assert info.value.status == 'timeout'


def test_a_connection_is_used_again(session, monkeypatch):
    connects, connect = [], HTTPConnection.connect
    monkeypatch.setattr(HTTPConnection, 'connect', lambda self: connects.append(connect(self)))
    with hello() as server:
        for _ in range(3):
            assert session.get(server.url).text == 'hello'
    assert len(connects) == 1


def test_proxies_have_the_same_limits(session):
    with (
        conf.set_temp('timeout', 0.1),
        hello(faults=lambda request: faults.drip()) as proxy,
        pytest.raises(FetchError) as info,
    ):
        session.get('http://elsewhere.example/', proxies={'http': proxy.url})
    assert info.value.status == 'timeout'


STREAM = '<DATA><BINARY><STREAM href="{}"/></BINARY></DATA>'
ESCAPED = STREAM.replace('<', '&#60;').replace('"', "'")
TABLE = (
    '<?xml version="1.0"{}?>{}<VOTABLE version="1.3"><RESOURCE type="results">'
    '<INFO name="QUERY_STATUS" value="OK"/><TABLE>'
    '<FIELD name="access_url" datatype="char" arraysize="6"/>{}</TABLE></RESOURCE></VOTABLE>'
)


# Each table that a service sends.
TABLES = [
    ('SIA 1', '/sia1'),
    ('SIA 2', '/SIA'),
    ('Euclid', '/euclid/SIA'),
    ('Rubin', '/api/sia/dp1/query'),
    ('Rubin', '/api/datalink/links'),
]


@pytest.mark.parametrize(('service', 'path'), TABLES)
@pytest.mark.parametrize(
    'table',
    [
        TABLE.format('', '', STREAM).encode(),
        TABLE.format(' encoding="UTF-16"', '', STREAM).encode('utf-16'),
        TABLE.format('', f'<!DOCTYPE VOTABLE [<!ENTITY s "{ESCAPED}">]>', '&s;').encode(),
    ],
    ids=['plain', 'UTF-16', 'entity'],
)
def test_a_list_of_images_opens_no_other_address(service, path, table, sky):
    """A VOTable may say that its data are in a file of the client, or at any address."""
    with hello() as spy, serve(sky) as server:
        address = f'{spy.url}/beacon'
        encoding = 'utf-16-le' if table[:2] == b'\xff\xfe' else 'ascii'
        answer = faults.status(200, table.replace('{}'.encode(encoding), address.encode(encoding)))
        server.faults = lambda request: answer if request.path == path else None
        cutouts = SERVICES[service](server.url).fetch(coords_at(sky, [150], [150]), size=16)
        assert spy.requests == []
    assert list(cutouts.status) == ['not_an_image']
