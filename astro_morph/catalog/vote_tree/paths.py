# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Compute the probability that a volunteer gives certain answers, such as 'not edge-on and bar'."""

import itertools
import re

import numpy as np

from astro_morph.utils.messages import cut_list

__all__ = ['VotePath']


class VotePath:
    """
    Answers that a volunteer may give to some questions of a tree.

    Parameters
    ----------
    text : str
        Answers with ``and`` between them, such as ``'featured and not edge-on and spiral'``;
        ``not`` in front of an answer means any other answer to its question. An answer is named as
        ``<question>_<answer>``, by itself, or by some words of these names. A question by itself,
        such as ``'bar'``, stands for all its answers but *no*. Case, hyphens, underscores and
        spaces make no difference.
    tree : `~astro_morph.catalog.vote_tree.VoteTree`
        The questions.

    Attributes
    ----------
    text : str
        The parameter.
    allowed : dict
        For each question that the text names, the numbers of its allowed answers.

    Raises
    ------
    ValueError
        If a name fits no answer or several, or no answer to a question is left.

    Examples
    --------
    >>> from astro_morph.catalog.vote_tree import VotePath, VoteTree
    >>> tree = VoteTree({
    ...     'shape': {'answers': {'smooth': 'n_smooth', 'featured': 'n_featured'}},
    ...     'edge-on': {
    ...         'answers': {'yes': 'n_edge_on', 'no': 'n_face_on'},
    ...         'asked_after': {'shape': ['featured']},
    ...     },
    ... })
    >>> path = VotePath('featured and not edge-on', tree)
    >>> path.probability([[0.2, 0.8, 0.25, 0.75]])
    array([0.6])
    """

    def __init__(self, text, tree):
        self.text = text.strip()
        self._tree = tree
        self._names = list(tree.questions)
        self.allowed = {}
        for term in re.split(r'\band\b', text, flags=re.IGNORECASE):
            negation, term = re.fullmatch(r'\s*(not\s)?\s*(.*?)\s*', term, re.IGNORECASE).groups()
            named = _find_answers(term, tree, text)
            question = _question(named, tree)
            answers = self.allowed.setdefault(
                int(question), set(np.flatnonzero(tree.question == question).tolist())
            )
            answers &= answers - named if negation else named
            if not answers:
                msg = f'path {text!r} excludes all answers to {self._names[question]!r}'
                raise ValueError(msg)

    def probability(self, fractions):
        """
        Return the probability that a volunteer is asked these questions and answers so.

        Parameters
        ----------
        fractions : array_like, shape (n, n_answers)
            Fraction of those asked the question that give each answer. Answers to different
            questions are taken as independent.

        Returns
        -------
        probability : ndarray, shape (n,)
            Fraction of all volunteers.
        """
        fractions = np.asarray(fractions, float)
        questions = sorted(self._with_earlier())
        choices = [
            sorted(self.allowed.get(question, np.flatnonzero(self._tree.question == question)))
            for question in questions
        ]
        probability = np.zeros(len(fractions))
        for answers in itertools.product(*choices):
            if self._asks_all(dict(zip(questions, answers, strict=True))):
                probability += fractions[:, answers].prod(axis=1)
        return probability

    def _with_earlier(self):
        """Return the numbers of the named questions and of all that lead to them."""
        found, waiting = set(), list(self.allowed)
        while waiting:
            question = waiting.pop()
            found.add(question)
            waiting += set(self._tree.question[self._tree.leading[question]].tolist()) - found
        return found

    def _asks_all(self, answers):
        """Return whether a volunteer of these answers is asked all named questions."""
        asked = set()
        for question in answers:
            leading = self._tree.leading[question]
            earlier = self._tree.question[leading].tolist()
            if not leading or any(
                before in asked and answers[before] == answer
                for before, answer in zip(earlier, leading, strict=True)
            ):
                asked.add(question)
        return set(self.allowed) <= asked


def _words(name):
    # Some projects write 'features', others 'featured'.
    return re.split(r'[-_\s]+', name.lower().replace('features', 'featured'))


def _find_answers(term, tree, text):
    """Return the numbers of the answers to one question that a term of a path names."""
    found = _fitting(_words(term), tree)
    if len(found) > 1:
        # Of questions that follow each other the first is meant.
        named = set().union(*found)
        first = [each for each in found if not named & set(tree.leading[_question(each, tree)])]
        found = first if len(first) == 1 else found
    if len(found) != 1:
        names = [tree.names[i] for i in sorted(set().union(*found))] or tree.names
        came = 'fits several answers' if found else 'is no answer'
        msg = f'path {text!r}: {term!r} {came}, expected one of {cut_list(names)}'
        raise ValueError(msg)
    return found[0]


def _question(answers, tree):
    return tree.question[min(answers)]


def _fitting(wanted, tree):
    """Return the sets of answers that some words may name."""
    numbers = range(len(tree.names))
    answers = [_words(answer) for parts in tree.questions.values() for answer in parts['answers']]
    questions = [_words(question) for question in tree.questions]
    whole = [questions[tree.question[i]] + answers[i] for i in numbers]
    # A question by itself stands for all its answers but 'no'.
    affirmed = [
        (question, {i for i in numbers if tree.question[i] == k and answers[i] != ['no']})
        for k, question in enumerate(questions)
        if any(tree.question[i] == k and answers[i] == ['no'] for i in numbers)
    ]
    wanted_set = set(wanted)
    # The first of these rules that some answer follows decides.
    return (
        [{i} for i in numbers if whole[i] == wanted]
        or [{i} for i in numbers if answers[i] == wanted]
        or [allowed for question, allowed in affirmed if ''.join(question) == ''.join(wanted)]
        or [{i} for i in numbers if wanted_set <= set(answers[i])]
        + [allowed for question, allowed in affirmed if wanted_set <= set(question)]
        or [{i} for i in numbers if wanted_set <= set(whole[i]) and wanted_set & set(answers[i])]
    )
