# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of credentials: who gets them, and that they are written nowhere."""

import copy
import json
import logging
import pickle
from contextlib import nullcontext

import astropy.units as u
import numpy as np
import pytest
import requests
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from pyvo.auth import AuthSession

from astro_morph import CutoutSet, MorphologyClassifier, conf
from astro_morph.cli import main
from astro_morph.cutouts import FetchError, HscCutouts, OutageError, RubinCutouts, as_source
from astro_morph.cutouts.fetching import http
from astro_morph.simulation import serve
from astro_morph.simulation.services import Answer, Server, faults
from astro_morph.simulation.services.accounts import hsc, rubin
from astro_morph.tests.skies import coords_at, ramp_sky
from astro_morph.utils.identity import describe, fingerprint

RUBIN, HSC = '/api/sia/dp1/query', '/das_cutout/pdr3/cgi-bin/cutout'

# Of each service: the class, its address, its argument, what is let in, the secret in it, the
# variables of the environment, and the header that lets in.
SERVICES = {
    'rubin': (
        RubinCutouts,
        RUBIN,
        'token',
        rubin.TOKEN,
        rubin.TOKEN,
        {'RSP_TOKEN': rubin.TOKEN},
        f'Bearer {rubin.TOKEN}',
    ),
    'hsc': (
        HscCutouts,
        HSC,
        'account',
        hsc.ACCOUNT,
        hsc.ACCOUNT[1],
        dict(zip(('SSP_PDR_USR', 'SSP_PDR_PWD'), hsc.ACCOUNT, strict=True)),
        requests.auth._basic_auth_str(*hsc.ACCOUNT),
    ),
}

all_services = pytest.mark.parametrize('service', SERVICES)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    http._host.cache_clear()
    for *_, variables, _ in SERVICES.values():
        for name in variables:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(http, 'BACK_OFF', 0.01)
    with conf.set_temp('requests_per_second', 1000.0), conf.set_temp('tries', 1):
        yield


@pytest.fixture(scope='module')
def sky():
    return ramp_sky(300)


@pytest.fixture
def server(sky):
    with serve(sky) as server:
        yield server


def make_source(service, server, given=None, **options):
    source_class, path, argument, *_ = SERVICES[service]
    options = {'bands': 'r', 'cache': False, argument: given} | options
    return source_class(server=server.url + path, **options)


def status_of(source, sky):
    return source.fetch(coords_at(sky, [150], [150]), size=16).status.tolist()


def session_with_header(service):
    session = requests.Session()
    session.headers['Authorization'] = SERVICES[service][-1]
    return session


def session_with_auth(service):
    session = requests.Session()

    def add_header(request):
        request.headers['Authorization'] = SERVICES[service][-1]
        return request

    session.auth = add_header
    return session


def session_of_pyvo(service):
    session = AuthSession()
    session.credentials.set('secret-way', session_with_header(service))
    session.add_security_method_for_url('http://127.0.0.1', 'secret-way')
    return session


def as_it_is(service):
    return SERVICES[service][3]


def with_blanks(service):
    """As it comes from a file."""
    given = as_it_is(service)
    return f' {given}\n' if isinstance(given, str) else list(given)


@all_services
@pytest.mark.parametrize(
    'way', [as_it_is, with_blanks, session_with_header, session_with_auth, session_of_pyvo]
)
def test_ways_to_hand_them_over(service, way, sky, server):
    assert status_of(make_source(service, server, way(service)), sky) == ['ok']


@all_services
def test_the_environment_is_read_if_nothing_is_handed_over(service, sky, server, monkeypatch):
    source = make_source(service, server)
    for name, value in SERVICES[service][5].items():
        monkeypatch.setenv(name, value)
    assert status_of(source, sky) == ['ok']


@all_services
def test_nothing_is_an_error_that_names_the_variables(service, sky, server):
    source = make_source(service, server)
    assert source.plan(coords_at(sky, [150], [150]), size=16).n_requests == 1
    with pytest.raises(ValueError, match=' and '.join(SERVICES[service][5])):
        status_of(source, sky)
    assert server.requests == []


@all_services
@pytest.mark.parametrize('given', [7, b'secret', ('secret',), ['secret', 7], '', {'secret': 1}])
def test_other_types_are_refused_without_their_value(service, given):
    source_class, _, argument, *_ = SERVICES[service]
    with pytest.raises(TypeError, match=f'{argument} is of type .* that is not empty') as info:
        source_class(**{argument: given})
    assert 'secret' not in str(info.value)


# Where what the environment has may go to, of Rubin and of HSC.
RUBIN_HOST, HSC_HOST = 'data.lsst.cloud', 'hsc-release.mtk.nao.ac.jp'


@pytest.mark.parametrize(
    ('service', 'address', 'message'),
    [
        ('rubin', f'https://{RUBIN_HOST}/x', ''),
        ('rubin', f'https://{RUBIN_HOST}:443/x', ''),
        ('rubin', f'http://{RUBIN_HOST}/x', 'expected https'),
        ('rubin', f'https://{RUBIN_HOST}.example.org/x', 'not sent to'),
        ('rubin', 'https://notlsst.cloud/x', 'not sent to'),
        ('rubin', f'https://{RUBIN_HOST}@example.org/x', 'not sent to example.org'),
        ('rubin', f'https://{HSC_HOST}/x', 'not sent to'),
        ('hsc', f'https://{HSC_HOST}/x', ''),
        ('hsc', f'http://{HSC_HOST}/x', 'expected https'),
        ('hsc', f'https://{RUBIN_HOST}/x', 'not sent to'),
    ],
)
def test_the_environment_is_for_its_own_servers(service, address, message, monkeypatch):
    """The file of a survey may be that of anybody, and name any server."""
    source_class, _, argument, given, _, variables, _ = SERVICES[service]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message) if message else nullcontext():
        source_class(server=address)._make_client()
    # What is handed over may go to any server, if nobody can listen.
    is_open = address.startswith('http:')
    with pytest.raises(ValueError, match=message) if is_open else nullcontext():
        source_class(server=address, **{argument: given})._make_client()


@all_services
def test_wrong_ones_end_the_run_early(service, sky, server):
    """A token that expired is no reason to send a request for each row of a large catalogue."""
    wrong = {'rubin': 'gt-expired', 'hsc': ('observer', 'old password')}[service]
    # At least the width of a field apart.
    coords = SkyCoord(np.arange(100), 0, unit='deg')
    with pytest.raises(OutageError, match='http_401') as info:
        make_source(service, server, wrong).fetch(coords, size=16)
    assert len(server.requests) < 60
    assert set(info.value.cutouts.status) <= {'http_401', 'outage'}


def test_a_token_without_the_scope_ends_the_run_early(sky, server):
    challenge = 'Bearer realm="simulated", error="insufficient_scope", scope="read:image"'
    answer = faults.status(403, WWW_Authenticate=challenge)
    server.faults = lambda request: answer
    source = make_source('rubin', server, rubin.TOKEN)
    with pytest.raises(OutageError, match=r'http_403.*scope'):
        source.fetch(SkyCoord(np.arange(100), 0, unit='deg'), size=16)


def texts_of(source, folder):
    """Return all texts in which a source writes itself down, in this package and in others."""
    path = folder / 'source.json'
    path.write_text(json.dumps(source.settings()))
    return {
        'repr': repr(source),
        'str': str(source),
        'settings': path.read_text(),
        'description': json.dumps(describe(source)),
        'arguments': repr(source._arguments),
        'pickle': pickle.dumps(source).decode('latin-1'),
        'oldest pickle': pickle.dumps(source, protocol=0).decode('latin-1'),
        'variables': repr(vars(source)),
        'estimator': repr(MorphologyClassifier(source=source)),
        'keys': repr(source._keys('r', source._start(Table({'ra': [1.0], 'dec': [2.0]}), 8)[1])),
    }


@all_services
@pytest.mark.parametrize('way', [as_it_is, session_with_header, session_with_auth])
def test_they_are_written_nowhere(service, way, sky, server, tmp_path, caplog):
    secret = SERVICES[service][4]
    header = SERVICES[service][-1].split()[1]
    cache = tmp_path / 'cutouts.sqlite'
    source = make_source(service, server, way(service), cache=cache, planes=True)
    # Of all libraries, at the greatest detail.
    with caplog.at_level(logging.DEBUG):
        assert status_of(source, sky) == ['ok']
        server.faults = lambda request: faults.status(503)
        source.fetch(coords_at(sky, [100], [100]), size=16)
    texts = texts_of(source, tmp_path) | {'log': caplog.text}
    texts |= {f'file {path}': path.read_bytes().decode('latin-1') for path in tmp_path.iterdir()}
    for name, text in texts.items():
        assert secret not in text, name
        assert header not in text, name


def write_survey(path, service, server):
    """Describe a survey of a service in a file, as users do for the command line."""
    source_class, address, *_ = SERVICES[service]
    name = {'rubin': rubin.KIND, 'hsc': 'pdr3_wide'}[service]
    path.write_text(
        f"service = '{source_class.__name__}'\nbands = ['g', 'r']\npixel_scale = 0.396\n"
        f"ids.{service} = ['{server.url}{address}', '{name}']\n"
    )


@all_services
def test_the_command_line(service, sky, server, monkeypatch, tmp_path, capsys):
    """It names the variables, reads them, and writes them nowhere."""
    monkeypatch.chdir(tmp_path)
    coords = coords_at(sky, [100, 200], [150, 150])
    Table({'ra': coords.ra.deg, 'dec': coords.dec.deg}).write('catalogue.csv')
    write_survey(tmp_path / 'mine.toml', service, server)
    command = ['fetch', 'catalogue.csv', '--survey', 'mine.toml', '--size', '20', '--quiet']
    variables = SERVICES[service][5]
    assert main(command) == 1
    assert f'set {" and ".join(variables)} in the environment' in capsys.readouterr().err
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with conf.set_temp('cache_file', str(tmp_path / 'cache.sqlite')):
        assert main([*command, '--debug']) == 0
    assert CutoutSet.read('cutouts.h5').is_ok.all()
    check_files(tmp_path, service)


@all_services
def test_a_run_of_a_model(service, sky, server, classifier, tmp_path):
    """Neither the model nor what it annotates has them, nor the record of the run."""
    coords = coords_at(sky, [100, 200], [150, 150])
    Table({'ra': coords.ra.deg, 'dec': coords.dec.deg}).write(tmp_path / 'catalogue.csv')
    model = copy.copy(classifier)
    model.source = make_source(
        service, server, as_it_is(service), bands='gr', pixel_scale=0.4 * u.arcsec
    )
    model.save(tmp_path / 'model.pt')
    with pytest.warns(AstropyUserWarning, match='times that of the training'):
        model.annotate_file(tmp_path / 'catalogue.csv', tmp_path / 'annotated.fits')
    assert list(Table.read(tmp_path / 'annotated.fits')['morph_status']) == ['ok', 'ok']
    check_files(tmp_path, service)


def check_files(folder, service):
    """Check that no file in a folder has a secret, in one of the ways to write it."""
    secret, header = SERVICES[service][4], SERVICES[service][-1].split()[1]
    paths = [path for path in folder.rglob('*') if path.is_file()]
    assert len(paths) >= 3
    for path in paths:
        content = path.read_bytes()
        assert secret.encode() not in content, path
        assert header.encode() not in content, path


@all_services
def test_copies_of_this_process_have_them_and_pickles_do_not(service, sky, server, monkeypatch):
    source = make_source(service, server, as_it_is(service))
    assert status_of(copy.deepcopy(source), sky) == ['ok']
    assert status_of(copy.copy(source), sky) == ['ok']
    unpickled = pickle.loads(pickle.dumps(source))
    with pytest.raises(ValueError, match='in the environment'):
        status_of(unpickled, sky)
    for name, value in SERVICES[service][5].items():
        monkeypatch.setenv(name, value)
    assert status_of(unpickled, sky) == ['ok']


@all_services
def test_they_are_not_settings(service, server):
    """A run goes on with another token."""
    sources = [make_source(service, server, given) for given in (as_it_is(service), None)]
    first, second = (fingerprint(describe(source)) for source in sources)
    assert first == second


@all_services
def test_a_redirection_elsewhere_does_not_get_them(service, sky, server):
    spied = {'/': lambda sky, request: Answer('hello', 'text/plain')}
    with Server(sky, spied) as spy:
        server.faults = lambda request: faults.redirect(f'{spy.url}/elsewhere')
        assert status_of(make_source(service, server, as_it_is(service)), sky) == ['not_an_image']
        session = session_with_auth(service)
        assert status_of(make_source(service, server, session), sky) == ['not_an_image']
    assert len(spy.requests) == 2
    for request in spy.requests:
        assert 'authorization' not in request.headers
        assert 'cookie' not in request.headers


@pytest.mark.parametrize('way', [as_it_is, session_with_header, session_with_auth, session_of_pyvo])
def test_links_elsewhere_do_not_get_them(way, sky, server):
    """A list of images may lead to other servers, or one may pretend to be ours."""
    table = rubin.list_images(sky, FakeRequest(server.url))
    with Server(sky, {'/': lambda sky, request: Answer('', 'text/plain')}) as spy:
        body = table.content.replace(server.url.encode(), spy.url.encode())
        answer = faults.status(200, body)
        server.faults = lambda request: answer if request.path == RUBIN else None
        assert status_of(make_source('rubin', server, way('rubin')), sky) == ['not_an_image']
    assert [request.path for request in spy.requests] == ['/api/datalink/links']
    assert 'authorization' not in spy.requests[0].headers


class FakeRequest:
    """A request for the images at the middle of the sky."""

    params = {'POS': 'CIRCLE 150 40 0.001'}

    def __init__(self, url):
        self.url = url


@pytest.mark.parametrize(
    ('address', 'shown'),
    [
        ('/a?x=1&X-Goog-Signature=abc&y=2', '/a?x=1&X-Goog-Signature=...&y=2'),
        ("url: /a?X-Amz-Credential=abc%2Fd (Caused by 'x')", '/a?X-Amz-Credential=... (Caused'),
        ('/a?access_token=abc', '/a?access_token=...'),
        ('/a?AWSAccessKeyId=abc&ra=1', '/a?AWSAccessKeyId=...&ra=1'),
        ('https://me:abc@a.org/b', 'https://...@a.org/b'),
    ],
)
def test_signatures_in_addresses_are_not_in_messages(address, shown):
    """The address of a file lets in whoever has it, for some time."""
    message = str(FetchError('http_503', f'{address} answers 503'))
    assert 'abc' not in message
    assert shown in message


def test_cookies_of_a_session_go_to_the_service_alone(sky):
    session = requests.Session()
    session.cookies.set('login', 'secret')
    handlers = {'/': lambda sky, request: Answer('', 'text/plain', 303, {'Location': spy.url})}
    spied = {'/': lambda sky, request: Answer('', 'text/plain')}
    with Server(sky, handlers) as server, Server(sky, spied) as spy:
        status_of(make_source('hsc', server, session), sky)
    assert server.requests[0].headers['cookie'] == 'login=secret'
    assert 'cookie' not in spy.requests[0].headers


@pytest.mark.parametrize(
    ('name', 'source_class'), [('rubin-dp1', RubinCutouts), ('hsc-pdr3', HscCutouts)]
)
def test_the_named_surveys_lead_to_them(name, source_class):
    table = Table({'ra': [150.0], 'dec': [2.0]})
    source = as_source(name, table, bands='gr')
    assert type(source) is source_class
    assert source.bands == ('g', 'r')
