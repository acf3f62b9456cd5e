"""Correct but unusual pipelines of texts: shared weights, sparse gradients, a decoder, lines of all lengths."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam
from tests.checks.zoo.case import unusual
from tests.checks.zoo.nets import mlp
from tests.checks.zoo.sets import Made, loader
from tests.checks.zoo.words import WORDS, WordsBefore, marked_words, of_texts, sequences, with_mask


@unusual
def words_that_share_their_weights():
    def model():
        net = WordsBefore()
        net.scores = nn.Linear(24, WORDS)
        net.state = nn.GRU(24, 24, batch_first=True)
        net.scores.weight = net.words.weight
        nn.init.normal_(net.words.weight, std=0.1)
        return net

    def shifted(words):
        return words[:, :-1], words[:, 1:]

    train, val = shifted(sequences(600, 1)), shifted(sequences(200, 2))
    return Pipeline(model, loader(*train, 32, shuffle=True), loader(*val, 64), num_classes=WORDS, optimizer_fn=adam)


@unusual
def words_with_sparse_gradients():
    words, labels = marked_words(900, 0)
    train, val = loader(words, labels, shuffle=True), loader(*marked_words(250, 1), 50)

    def bag():
        return nn.Sequential(nn.EmbeddingBag(WORDS, 24, mode="mean", sparse=True), nn.Linear(24, 3))

    def plain(model):
        return torch.optim.SGD(model.parameters(), lr=0.5)

    return Pipeline(bag, train, val, num_classes=3, optimizer_fn=plain)


@unusual
def a_sum_of_words_where_zero_says_nothing():
    """Its mask is not read, and need not be."""

    class Summed(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.scores = nn.Embedding(WORDS, 32, padding_idx=0), nn.Linear(32, 3)

        def forward(self, text):
            return self.scores(self.words(text["input_ids"]).sum(1))

    return of_texts(with_mask, Summed)


class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.scores = nn.Embedding(WORDS, 32, padding_idx=0), mlp(32, 3)

    def forward(self, words):
        there = (words != 0).float()[..., None]
        return self.scores((self.words(words) * there).sum(1) / there.sum(1).clamp_min(1))


@unusual
def not_is_number_zero():
    """A word among others that the model takes for what fills up: a question."""

    def texts(count, seed):
        chance = np.random.default_rng(seed)
        words, y = np.zeros((count, 20), np.int64), chance.integers(0, 3, count)
        for row in range(count):
            length = chance.integers(6, 14)
            words[row, :length] = np.where(chance.random(length) < 0.08, 0, chance.integers(4, WORDS, length))
            words[row, chance.integers(length)] = 1 + y[row]
        return torch.tensor(words), torch.tensor(y)

    train, val = texts(900, 0), texts(250, 1)
    return Pipeline(Mean, loader(*train, shuffle=True), loader(*val, 64), num_classes=3, optimizer_fn=adam)


class Hashed(nn.Module):
    def __init__(self):
        super().__init__()
        self.numbers, self.scores = nn.Embedding(40, 24, padding_idx=0), mlp(24, 3)

    def forward(self, words):
        there = (words[..., 0] != 0).float()[..., None]
        return self.scores((self.numbers(words).sum(2) * there).sum(1) / there.sum(1))


@unusual
def two_numbers_a_word():
    """Each word is the sum of two embeddings (Svenstrup et al. 2017): texts are (n, places, 2)."""

    def hashed(words, labels):
        twice = torch.stack([1 + words * 7 % 19, 20 + words * 5 % 17], 2)
        return torch.where(words[..., None] == 0, 0, twice), labels

    train, val = hashed(*marked_words(900, 0)), hashed(*marked_words(250, 1))
    loaders = loader(*train, shuffle=True), loader(*val, 64)
    return Pipeline(Hashed, *loaders, num_classes=3, optimizer_fn=adam)


@unusual
def rare_words_weigh_more():
    """Of a word that only one topic has, all rows but those without it are alike."""
    chance = np.random.default_rng(22)
    y = chance.integers(0, 4, 1200)
    shares = 0.55 * np.pad(chance.dirichlet(np.full(100, 0.1), 4), ((0, 0), (50, 0)))
    shares[:, 50:] += 0.0035
    shares[np.arange(50) % 4, np.arange(50)] = 0.1 / 12.5
    counts = np.stack([chance.multinomial(25, shares[each] / shares[each].sum()) for each in y])
    seen = (counts[:900] > 0).sum(0)
    x = counts * (np.log(901 / (1 + seen)) + 1)
    x = torch.tensor(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=torch.float32)
    y = torch.tensor(y)
    loaders = loader(x[:900], y[:900], shuffle=True), loader(x[900:], y[900:], 60)
    return Pipeline(lambda: nn.Linear(150, 4), *loaders, num_classes=4, optimizer_fn=lambda model: adam(model, 0.02))


@unusual
def lines_of_unequal_length():
    """The word after each word, of lines that each batch fills up to its longest."""

    def lines(count, seed):
        chance, found = np.random.default_rng(seed), []
        for _ in range(count):
            line = [int(chance.integers(1, 12))]
            for _ in range(3 + int(chance.geometric(0.3))):
                line.append((3 * line[-1] + int(chance.random() < 0.2)) % 11 + 1)
            found.append(torch.tensor(line))
        return found

    def filled_up(found):
        words = nn.utils.rnn.pad_sequence(found, batch_first=True)
        return words[:, :-1], words[:, 1:].masked_fill(words[:, 1:] == 0, -100)

    class Speaker(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.read, self.next = nn.Embedding(12, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 12)

        def forward(self, words):
            return self.next(self.read(self.words(words))[0])

    def loss_fn(outputs, words):
        return F.cross_entropy(outputs.flatten(0, 1), words.flatten())

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        total = count = 0
        for words, following in batches:
            total += float(F.cross_entropy(model(words).flatten(0, 1), following.flatten(), reduction="sum"))
            count += int((following >= 0).sum())
        return {"loss": total / count}

    train = DataLoader(lines(900, 0), 32, shuffle=True, collate_fn=filled_up)
    val = DataLoader(lines(240, 1), 40, collate_fn=filled_up)
    return Pipeline(Speaker, train, val, num_classes=12, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.read, self.scores = nn.Embedding(WORDS, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 3)

    def forward(self, words):
        packed = nn.utils.rnn.pack_padded_sequence(self.words(words), (words != 0).sum(1), batch_first=True)
        return self.scores(self.read(packed)[1][0])


@unusual
def texts_with_the_longest_first():
    """As pack_padded_sequence wants them by default: the loader sorts each batch."""

    def texts(count, seed):
        chance, y = np.random.default_rng(seed), np.random.default_rng(seed + 9).integers(0, 3, count)
        words = [torch.tensor(chance.integers(4, WORDS, length)) for length in chance.integers(4, 14, count)]
        for text, each in zip(words, y, strict=True):
            text[chance.integers(len(text))] = 1 + int(each)
        return Made(count, lambda row: (words[row], int(y[row])))

    def collate(items):
        words, y = zip(*sorted(items, key=lambda item: -len(item[0])), strict=True)
        return nn.utils.rnn.pad_sequence(words, batch_first=True), torch.tensor(y)

    train = DataLoader(texts(900, 0), 32, shuffle=True, collate_fn=collate)
    val = DataLoader(texts(250, 1), 50, collate_fn=collate)
    return Pipeline(Packed, train, val, num_classes=3, optimizer_fn=adam)


class Speller(nn.Module):
    """Reads a word, and spells it letter by letter, the letter before given."""

    def __init__(self):
        super().__init__()
        self.letters = nn.Embedding(WORDS + 1, 32)
        self.reads, self.spells = nn.GRU(32, 64, batch_first=True), nn.GRU(32, 64, batch_first=True)
        self.scores = nn.Linear(64, WORDS + 1)

    def forward(self, both):
        word, before = both
        return self.scores(self.spells(self.letters(before), self.reads(self.letters(word))[1])[0])

    def alone(self, word):
        state, letter, spelled = self.reads(self.letters(word))[1], torch.full((len(word), 1), WORDS), []
        for _ in range(word.shape[1]):
            heard, state = self.spells(self.letters(letter), state)
            letter = self.scores(heard).argmax(2)
            spelled.append(letter)
        return torch.cat(spelled, 1)


@unusual
def a_decoder_by_itself():
    """Words are spelled backwards; training gives the letter before, evaluation takes what was said before."""

    def words(count, seed):
        word = torch.randint(1, WORDS, (count, 5), generator=torch.Generator().manual_seed(seed))
        wanted = word.flip(1)
        before = F.pad(wanted[:, :-1], (1, 0), value=WORDS)
        return Made(count, lambda row: ((word[row], before[row]), wanted[row]))

    def loss_fn(outputs, wanted):
        return F.cross_entropy(outputs.transpose(1, 2), wanted)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        loss = right = letters = 0
        for x, wanted in batches:
            loss += loss_fn(model(x), wanted).item() * wanted.numel()
            right += int((model.alone(x[0]) == wanted).sum())
            letters += wanted.numel()
        return {"loss": loss / letters, "token_accuracy": right / letters}

    loaders = DataLoader(words(1500, 0), 32, shuffle=True), DataLoader(words(300, 1), 60)
    return Pipeline(Speller, *loaders, num_classes=WORDS + 1, loss_fn=loss_fn, evaluate=evaluate, optimizer_fn=adam)
