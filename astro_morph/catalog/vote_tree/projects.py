# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The trees of questions of the Galaxy Zoo projects, with the column names of their tables."""

__all__ = ['GALAXY_ZOO', 'galaxy_zoo', 'galaxy_zoo_2']


def galaxy_zoo(survey, columns=None):
    """
    Return the tree of a Galaxy Zoo project, with the column names of its table.

    The names of questions and answers are those of the public tables: for ``'ceers'`` of the table
    of Galaxy Zoo CEERS, for ``'gz2'`` of Willett et al. (2013), for the others of the package
    galaxy-datasets 0.0.25. Each question is asked after the answers that lead to it on the page of
    the volunteers. Questions whose answers galaxy-datasets does not list are left out: how the
    clumps of Hubble and CANDELS galaxies are arranged, and the rare features.

    Parameters
    ----------
    survey : {'gz2', 'decals-dr12', 'decals-dr5', 'decals-dr8', 'desi', 'hubble', 'candels', \
            'ukidss', 'cosmic-dawn', 'jwst', 'ceers', 'euclid'}
        The project. ``'jwst'`` has the columns of galaxy-datasets, ``'ceers'`` those of the table
        of Galaxy Zoo CEERS.
    columns : str, default=None
        The pattern of the names of columns, with the fields ``{question}`` and ``{answer}``, such
        as ``'{question}_{answer}_fraction'``. By default they are votes, as galaxy-datasets names
        them (``'smooth-or-featured-dr5_smooth'``); for ``'desi'`` fractions
        (``'smooth-or-featured_smooth_fraction'``); for ``'gz2'`` votes of the published table.

    Returns
    -------
    questions : dict
        The questions, for `VoteTree` and `~astro_morph.MorphologyVotes`.

    Raises
    ------
    ValueError
        If the project is unknown.

    Examples
    --------
    >>> from astro_morph.catalog.vote_tree import galaxy_zoo
    >>> galaxy_zoo('euclid')['disk-edge-on']['answers']
    {'yes': 'disk-edge-on-euclid_yes', 'no': 'disk-edge-on-euclid_no'}
    >>> galaxy_zoo('euclid', '{question}_{answer}_fraction')['disk-edge-on']['answers']
    {'yes': 'disk-edge-on_yes_fraction', 'no': 'disk-edge-on_no_fraction'}
    """
    if survey not in GALAXY_ZOO:
        msg = f'survey is {survey!r}, expected one of {sorted(GALAXY_ZOO)}'
        raise ValueError(msg)
    if columns is None:
        return {
            name: {**question, 'answers': dict(question['answers'])}
            for name, question in GALAXY_ZOO[survey].items()
        }
    return _with_columns(GALAXY_ZOO[survey], columns)


def galaxy_zoo_2(kind='weighted_fraction'):
    """
    Return the tree of Galaxy Zoo 2, with the column names of its tables.

    The tables are those of Willett et al. (2013, MNRAS 435, 2835) and Hart et al. (2016, MNRAS 461,
    3663). Their column ``total_classifications`` holds the number of volunteers who looked at each
    galaxy.

    Parameters
    ----------
    kind : {'count', 'fraction', 'weighted_fraction', 'debiased'}, default='weighted_fraction'
        Kind of the columns, of which the tables have several for each answer.

    Returns
    -------
    questions : dict
        The questions, for `VoteTree` and `~astro_morph.MorphologyVotes`.

    Examples
    --------
    >>> from astro_morph.catalog.vote_tree import galaxy_zoo_2
    >>> galaxy_zoo_2('count')['edgeon']['answers']
    {'yes': 't02_edgeon_a04_yes_count', 'no': 't02_edgeon_a05_no_count'}
    """
    questions = {}
    for task, (answers, asked_after) in _GALAXY_ZOO_2.items():
        # Names begin with the number of the task or answer: 't02_', 'a04_'.
        columns = {answer[4:]: f'{task}_{answer}_{kind}' for answer in answers}
        questions[task[4:]] = {'answers': columns, 'asked_after': asked_after}
    return questions


_NOT_EDGE_ON = {'edgeon': ['no']}
_SPIRAL = {'spiral': ['spiral']}
_GALAXY_ZOO_2 = {
    't01_smooth_or_features': (['a01_smooth', 'a02_features_or_disk', 'a03_star_or_artifact'], {}),
    't02_edgeon': (['a04_yes', 'a05_no'], {'smooth_or_features': ['features_or_disk']}),
    't03_bar': (['a06_bar', 'a07_no_bar'], _NOT_EDGE_ON),
    't04_spiral': (['a08_spiral', 'a09_no_spiral'], _NOT_EDGE_ON),
    't05_bulge_prominence': (
        ['a10_no_bulge', 'a11_just_noticeable', 'a12_obvious', 'a13_dominant'],
        _NOT_EDGE_ON,
    ),
    't06_odd': (['a14_yes', 'a15_no'], {'smooth_or_features': ['smooth', 'features_or_disk']}),
    't07_rounded': (
        ['a16_completely_round', 'a17_in_between', 'a18_cigar_shaped'],
        {'smooth_or_features': ['smooth']},
    ),
    't08_odd_feature': (
        [
            'a19_ring',
            'a20_lens_or_arc',
            'a21_disturbed',
            'a22_irregular',
            'a23_other',
            'a24_merger',
            'a38_dust_lane',
        ],
        {'odd': ['yes']},
    ),
    't09_bulge_shape': (['a25_rounded', 'a26_boxy', 'a27_no_bulge'], {'edgeon': ['yes']}),
    't10_arms_winding': (['a28_tight', 'a29_medium', 'a30_loose'], _SPIRAL),
    't11_arms_number': (
        ['a31_1', 'a32_2', 'a33_3', 'a34_4', 'a36_more_than_4', 'a37_cant_tell'],
        _SPIRAL,
    ),
}


def _with_columns(questions, pattern):
    """Return questions, whose answers may be a list, with columns named by a pattern."""
    return {
        name: {
            'answers': {
                answer: pattern.format(question=name, answer=answer)
                for answer in question['answers']
            },
            'asked_after': question.get('asked_after', {}),
        }
        for name, question in questions.items()
    }


def _build(**answers_and_leading):
    """Build questions from ``question='answers after question: answers'``, '_' for hyphens."""
    questions = {}
    for name, text in answers_and_leading.items():
        answers, _, leading = text.partition(' after ')
        question, _, leading_answers = leading.partition(': ')
        asked_after = {question: leading_answers.split()} if leading else {}
        questions[name.replace('_', '-')] = {'answers': answers.split(), 'asked_after': asked_after}
    return questions


_FACE_ON = 'after disk-edge-on: no'
_EDGE_ON = 'after disk-edge-on: yes'
_ARMS = 'after has-spiral-arms: yes'
_GALAXY = 'after smooth-or-featured: smooth featured-or-disk'

_DECALS = _build(
    smooth_or_featured='smooth featured-or-disk artifact',
    disk_edge_on='yes no after smooth-or-featured: featured-or-disk',
    has_spiral_arms=f'yes no {_FACE_ON}',
    bar=f'strong weak no {_FACE_ON}',
    bulge_size=f'dominant large moderate small none {_FACE_ON}',
    how_rounded='round in-between cigar-shaped after smooth-or-featured: smooth',
    edge_on_bulge=f'boxy none rounded {_EDGE_ON}',
    spiral_winding=f'tight medium loose {_ARMS}',
    spiral_arm_count=f'1 2 3 4 more-than-4 cant-tell {_ARMS}',
    merging=f'none minor-disturbance major-disturbance merger {_GALAXY}',
)
# The first campaign had other answers to five questions.
_DECALS_DR12 = _DECALS | _build(
    bar=f'yes no {_FACE_ON}',
    bulge_size=f'dominant obvious none {_FACE_ON}',
    how_rounded='completely in-between cigar-shaped after smooth-or-featured: smooth',
    spiral_arm_count=f'1 2 3 4 more-than-4 {_ARMS}',
    merging=f'neither tidal-debris both merger {_GALAXY}',
)
# The tree of Galaxy Zoo 2 in the words of galaxy-datasets, without the kinds of odd features.
_UKIDSS = _build(
    smooth_or_featured='smooth featured-or-disk artifact',
    disk_edge_on='yes no after smooth-or-featured: featured-or-disk',
    has_spiral_arms=f'yes no {_FACE_ON}',
    bar=f'yes no {_FACE_ON}',
    bulge_size=f'dominant obvious just-noticeable no {_FACE_ON}',
    something_odd=f'yes no {_GALAXY}',
    how_rounded='round in-between cigar after smooth-or-featured: smooth',
    bulge_shape=f'round boxy no-bulge {_EDGE_ON}',
    spiral_winding=f'tight medium loose {_ARMS}',
    spiral_arm_count=f'1 2 3 4 more-than-4 cant-tell {_ARMS}',
)
_CLUMPY = 'after clumpy-appearance: yes'
_FEW_CLUMPS = _build(
    smooth_or_featured='smooth features artifact',
    how_rounded='completely in-between cigar-shaped after smooth-or-featured: smooth',
    clumpy_appearance='yes no after smooth-or-featured: features',
    disk_edge_on='yes no after clumpy-appearance: no',
    bar=f'yes no {_FACE_ON}',
    has_spiral_arms=f'yes no {_FACE_ON}',
    spiral_winding=f'tight medium loose {_ARMS}',
    spiral_arm_count=f'1 2 3 4 5-plus cant-tell {_ARMS}',
)
_HUBBLE = _FEW_CLUMPS | _build(
    bulge_shape=f'rounded boxy none {_EDGE_ON}',
    bulge_size=f'none just-noticeable obvious dominant {_FACE_ON}',
    galaxy_symmetrical=f'yes no {_CLUMPY}',
    clumps_embedded_larger_object=f'yes no {_CLUMPY}',
)
_CANDELS = _FEW_CLUMPS | _build(
    edge_on_bulge=f'yes no {_EDGE_ON}',
    bulge_size=f'none obvious dominant {_FACE_ON}',
    merging='merger tidal-debris both neither after smooth-or-featured: smooth features',
)
_COSMIC_DAWN = _DECALS | _build(
    smooth_or_featured='smooth featured-or-disk problem',
    clumps=f'yes no {_FACE_ON}',
    problem='star artifact zoom after smooth-or-featured: problem',
    artifact='satellite scattered diffraction ray saturation other after problem: artifact',
)
_EUCLID = _COSMIC_DAWN | _build(
    artifact='satellite scattered diffraction ray saturation other ghost after problem: artifact',
)
# Of the CEERS volunteers, all who saw features were asked for clumps: so say their counts.
_JWST = _DECALS | _build(
    smooth_or_featured='smooth featured-or-disk star-artifact-zoom',
    clumps='yes no after smooth-or-featured: featured-or-disk',
    problem='star artifact bad-zoom after smooth-or-featured: star-artifact-zoom',
)

# Columns of the table of Galaxy Zoo CEERS, in the order of the answers above.
_CEERS_COLUMNS = {
    'smooth-or-featured': (
        't0_smooth_or_featured',
        'smooth features_or_disk star_artifact_or_bad_zoom',
    ),
    'disk-edge-on': (
        't2_could_this_be_a_disk_viewed_edgeon',
        'yes_edge_on_disk no_something_else',
    ),
    'has-spiral-arms': ('t5_is_there_any_spiral_arm_pattern', 'yes no'),
    'bar': ('t4_is_there_a_bar', 'strong_bar weak_bar no_bar'),
    'bulge-size': ('t8_not_edge_on_bulge', 'dominant large moderate small no_bulge'),
    'how-rounded': ('t1_how_rounded_is_it', 'completely_round in_between cigarshaped'),
    'edge-on-bulge': ('t3_edge_on_bulge_what_shape', 'boxy no_bulge rounded'),
    'spiral-winding': ('t6_spiral_how_tightly_wound', 'tight medium loose'),
    'spiral-arm-count': ('t7_how_many_spiral_arms_are_there', '1 2 3 4 more_than_4 cant_tell'),
    'merging': (
        't11_is_the_galaxy_merging_or_disturbed',
        'none minor_disturbance major_disturbance merging',
    ),
    'clumps': ('t12_are_there_any_obvious_bright_clumps', 'yes no'),
    'problem': ('t19_what_problem_do___e_with_the_image', 'star nonstar_artifact bad_image_zoom'),
}


def _ceers():
    """Return the questions of JWST galaxies, with the columns of Galaxy Zoo CEERS."""
    questions = _with_columns(_JWST, '')
    for name, (task, answers) in _CEERS_COLUMNS.items():
        columns = (f'{task}__{answer}' for answer in answers.split())
        questions[name]['answers'] = dict(zip(_JWST[name]['answers'], columns, strict=True))
    return questions


# The trees by the name of the project, with the columns of its table of votes.
GALAXY_ZOO = {
    'gz2': galaxy_zoo_2('count'),
    'decals-dr12': _with_columns(_DECALS_DR12, '{question}-dr12_{answer}'),
    'decals-dr5': _with_columns(_DECALS, '{question}-dr5_{answer}'),
    'decals-dr8': _with_columns(_DECALS, '{question}-dr8_{answer}'),
    'desi': _with_columns(_DECALS, '{question}_{answer}_fraction'),
    'hubble': _with_columns(_HUBBLE, '{question}-hubble_{answer}'),
    'candels': _with_columns(_CANDELS, '{question}-candels_{answer}'),
    'ukidss': _with_columns(_UKIDSS, '{question}-ukidss_{answer}'),
    'cosmic-dawn': _with_columns(_COSMIC_DAWN, '{question}-cd_{answer}'),
    'jwst': _with_columns(_JWST, '{question}-jwst_{answer}'),
    'ceers': _ceers(),
    'euclid': _with_columns(_EUCLID, '{question}-euclid_{answer}'),
}
