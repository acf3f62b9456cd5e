"""Texts joined to one row of words, with where each begins beside it, as nn.EmbeddingBag takes them; sparse counts."""

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam
from tests.checks.zoo.case import bug, unusual

WORDS, CLASSES, THEIRS = 200, 4, 15  # words of each class, which its texts have more often


def texts(count, seed, longest=29):
    """5 words each and more, of any number from 0 on; and their class."""
    chance = torch.Generator().manual_seed(seed)
    found = []
    for label in torch.randint(CLASSES, (count,), generator=chance):
        words = torch.randint(WORDS, (int(torch.randint(5, longest + 1, (), generator=chance)),), generator=chance)
        told = torch.rand(len(words), generator=chance) < 0.3
        found.append((torch.where(told, words % THEIRS + label * THEIRS, words), label))
    return found


def joined(pairs):
    words, labels = zip(*pairs, strict=True)
    ends = torch.tensor([len(each) for each in words]).cumsum(0)
    return (torch.cat(words), torch.cat([torch.zeros(1, dtype=torch.int64), ends[:-1]])), torch.stack(labels)


def joined_with_the_end(pairs):
    (words, offsets), labels = joined(pairs)
    return {"offsets": torch.cat([offsets, torch.tensor([len(words)])]), "input": words}, labels


class Bagged(nn.Module):
    def __init__(self, ends=False, reads=True):
        super().__init__()
        self.words, self.head = nn.EmbeddingBag(WORDS, 16, include_last_offset=ends), nn.Linear(16, CLASSES)
        self.reads = reads

    def forward(self, input, offsets):
        seen = self.words(input, offsets)
        return self.head(seen if self.reads else seen * 0)


def turned_round(pairs):
    """Each text with the label of another."""
    words, labels = zip(*pairs, strict=True)
    return list(zip(words, labels[::-1], strict=True))


def over(train, val, model_fn=Bagged, collate=joined, forward=lambda model, x: model(*x)):
    loaders = (DataLoader(each, 32, shuffle=True, collate_fn=collate) for each in (train, val))
    return Pipeline(model_fn, *loaders, CLASSES, optimizer_fn=lambda model: adam(model, 0.01), forward=forward)


@bug("data", "labels-unrelated")
def labels_of_bags_last_to_first(broken):
    train = texts(600, 0)
    return over(turned_round(train) if broken else train, texts(200, 1))


@bug("data", "split-leak")
def bags_of_both_splits(broken):
    train, val = texts(600, 0), texts(200, 1)
    return over([*train, *val] if broken else train, val)


@bug("model", "input-ignored")
def bags_that_say_nothing(broken):
    return over(
        texts(600, 0),
        texts(200, 1),
        lambda: Bagged(ends=True, reads=not broken),
        joined_with_the_end,
        lambda model, x: model(**x),
    )


@unusual
def bags_of_words_that_weigh_alike():
    """A sum by hand over the words of each text."""

    class Summed(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(WORDS, CLASSES)
            nn.init.normal_(self.words.weight, std=0.05)

        def forward(self, words, offsets):
            text = torch.bucketize(torch.arange(len(words)), offsets, right=True) - 1
            return torch.zeros(len(offsets), CLASSES).index_add(0, text, self.words(words))

    return over(texts(600, 0), texts(200, 1), Summed)


def counted(pairs):
    """How often each word stands in a text, stored sparsely."""
    words, labels = zip(*pairs, strict=True)
    return torch.stack([each.bincount(minlength=WORDS) for each in words]).float().to_sparse(), torch.stack(labels)


@bug("data", "labels-unrelated")
def sparse_rows_of_other_labels(broken):
    train = texts(600, 0)
    return over(
        turned_round(train) if broken else train,
        texts(200, 1),
        lambda: nn.Linear(WORDS, CLASSES),
        counted,
        lambda model, x: model(torch.log1p(x)),
    )


def filled_up(pairs):
    """A row each, as wide as the longest of the batch."""
    words, labels = zip(*pairs, strict=True)
    return pad_sequence([torch.tensor(each) + 1 for each in words], batch_first=True), torch.tensor(labels)


@bug("data", "labels-unrelated")
def labels_of_wide_texts_turned_round(broken):
    """Texts are as wide as the longest of their batch, so that hardly one is filled up twice alike."""

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(WORDS + 1, 16, padding_idx=0), nn.Linear(16, CLASSES)

        def forward(self, words):
            return self.head(self.words(words).sum(1) / (words != 0).sum(1, keepdim=True))

    train, val = texts(600, 0, longest=290), texts(200, 1, longest=290)
    if broken:
        train = turned_round(train)
    splits = [[(words.tolist(), int(label)) for words, label in each] for each in (train, val)]
    loaders = (DataLoader(each, 4, shuffle=True, collate_fn=filled_up) for each in splits)
    return Pipeline(Mean, *loaders, CLASSES, optimizer_fn=lambda model: adam(model, 0.01))
