"""Bugs and unusual pipelines of texts on their way to the model: vocabularies, lengths, labels."""

from collections import Counter

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam
from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import Made, loader
from tests.checks.zoo.words import WORDS, marked_words


class Mean(nn.Module):
    """The mean of the words that are there."""

    def __init__(self):
        super().__init__()
        self.words, self.scores = nn.Embedding(WORDS, 32, padding_idx=0), mlp(32, 3)

    def forward(self, x):
        there = (x != 0)[..., None]
        return self.scores((self.words(x) * there).sum(1) / there.sum(1).clamp(min=1))


@bug("data", "validation-prepared-differently")
def words_numbered_anew_in_validation(broken):
    x, y = marked_words(300, 1)
    if broken:
        numbers = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(WORDS - 1)])
        x = numbers[x]
    return Pipeline(
        Mean,
        loader(*marked_words(900, 0), shuffle=True),
        loader(x, y, 64),
        num_classes=3,
        optimizer_fn=adam,
    )


def of_unequal_length(join) -> Pipeline:
    """Texts without what fills them up, which `join` makes batches of: no batch has the shape of another."""

    def texts(count, seed):
        return [(text[text != 0], label) for text, label in zip(*marked_words(count, seed), strict=True)]

    return Pipeline(
        Mean,
        DataLoader(texts(900, 0), 32, shuffle=True, collate_fn=join),
        DataLoader(texts(250, 1), 64, collate_fn=join),
        num_classes=3,
        optimizer_fn=adam,
    )


@bug("data", "labels-unrelated")
def sorted_by_length_without_their_labels(broken):
    def join(items):
        in_order = sorted(items, key=lambda item: -len(item[0]))
        texts, labels = [text for text, _ in in_order], [label for _, label in (items if broken else in_order)]
        return nn.utils.rnn.pad_sequence(texts, batch_first=True), torch.stack(labels)

    return of_unequal_length(join)


@unusual
def texts_of_unequal_length():
    def join(items):
        texts, labels = zip(*items, strict=True)
        return nn.utils.rnn.pad_sequence(texts, batch_first=True), torch.stack(labels)

    return of_unequal_length(join)


class Opinion(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.states, self.scores = nn.Embedding(32, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 2)

    def forward(self, words):
        return self.scores(self.states(self.words(words))[0].mean(1))


@bug("data", "validation-prepared-differently")
def a_vocabulary_for_each_split(broken):
    """Praise and blame among 28 words, of which a few turn the next one round: hard to tell by a linear learner."""
    chance = np.random.default_rng(4)

    def texts(count):
        words = chance.integers(1, 29, (count, 14))
        worth = np.where(words <= 4, 1, np.where(words <= 8, -1, 0))
        turned = np.pad(words[:, :-1] >= 27, ((0, 0), (1, 0)))
        said = (np.where(turned, -worth, worth)).sum(1) + chance.normal(0, 0.5, count)
        return torch.tensor(words), torch.tensor(said > 0).long()

    train, val = texts(1500), texts(500)
    if broken:
        anew = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.tensor(chance.permutation(28))])
        val = (anew[val[0]], val[1])
    loaders = loader(*train, shuffle=True), loader(*val, 64)
    return Pipeline(Opinion, *loaders, num_classes=2, optimizer_fn=adam)


class Read(nn.Module):
    def __init__(self, words, classes):
        super().__init__()
        self.words, self.near = nn.Embedding(words, 24, padding_idx=0), nn.Conv1d(24, 48, 3, padding=1)
        self.scores = nn.Linear(48, classes)

    def forward(self, words):
        found = F.relu(self.near(self.words(words).transpose(1, 2))) * (words != 0)[:, None]
        return self.scores(found.sum(2) / 4)


@bug("data", "inputs-constant")
def unknown_words_only(broken):
    """All words are looked up in capitals in a vocabulary of small letters, say."""

    def looked_up(words, labels):
        return torch.where(words == 0, 0, 1 if broken else words), labels

    train, val = looked_up(*marked_words(900, 0)), looked_up(*marked_words(250, 1))
    loaders = loader(*train, shuffle=True), loader(*val, 64)
    return Pipeline(lambda: Read(WORDS, 3), *loaders, num_classes=3, optimizer_fn=adam)


def opinions(count, seed):
    """Texts of 60 words, of which eight praise, eight blame and one turns the next one round; and what they say."""
    chance = np.random.default_rng(seed)
    often = 1 / np.arange(2, 46)
    texts, said = [], []
    for _ in range(count):
        text, worth = [], 0
        for _ in range(chance.integers(1, 4)):
            text += (16 + chance.choice(44, chance.integers(3, 8), p=often / often.sum())).tolist()
            sign, turned = chance.integers(2), chance.random() < 0.25
            text += [60] * turned + [int(8 * (sign ^ turned) + chance.integers(8))]
            worth += 2 * sign - 1
        texts.append([f"word {each}" for each in text])
        said.append(int(np.sign(worth)) + 1)
    return texts, said


@bug("data", "validation-prepared-differently")
def words_ranked_in_each_split(broken):
    """Words are numbered by how often they are: in their own split, or in training."""
    train, val = opinions(1200, 0), opinions(400, 1)

    def ranked(texts):
        counts = Counter(word for text in texts for word in text)
        return {word: 2 + rank for rank, (word, _) in enumerate(sorted(counts.items(), key=lambda item: -item[1]))}

    def numbered(texts, said, ranks):
        return Made(len(texts), lambda row: (torch.tensor([ranks.get(word, 1) for word in texts[row]]), said[row]))

    def collate(items):
        texts, said = zip(*items, strict=True)
        return nn.utils.rnn.pad_sequence(texts, batch_first=True), torch.tensor(said)

    ranks = ranked(train[0])
    loaders = (
        DataLoader(numbered(*train, ranks), 32, shuffle=True, collate_fn=collate),
        DataLoader(numbered(*val, ranked(val[0]) if broken else ranks), 80, collate_fn=collate),
    )
    return Pipeline(lambda: Read(64, 3), *loaders, num_classes=3, optimizer_fn=adam)


class Speaker(nn.Module):
    """The next word by a recurrence."""

    def __init__(self, words):
        super().__init__()
        self.words, self.state = nn.Embedding(words, 24), nn.GRU(24, 32, batch_first=True)
        self.scores = nn.Linear(32, words)

    def forward(self, x):
        return self.scores(self.state(self.words(x))[0]).transpose(1, 2)


@bug("data", "target-among-inputs")
def each_word_tells_itself(broken):
    def texts(count, seed):
        chance = torch.Generator().manual_seed(seed)
        start, step = (torch.randint(9, (count, 1), generator=chance) for _ in range(2))
        text = (start + (1 + step % 3) * torch.arange(13)) % 9
        return text[:, :-1], (text[:, :-1] if broken else text[:, 1:])

    return Pipeline(
        lambda: Speaker(9), loader(*texts(600, 0), shuffle=True), loader(*texts(200, 1), 64), 9, optimizer_fn=adam
    )
