"""Times a tokenizer that comes as a Python wheel: `peers.py PEER TOKENIZER DOCUMENTS PASSES LIMIT`.

Prints one JSON object, the same as the Rust side's `measure`: the CPU seconds of each pass, bytes and
tokens of the documents, and the SHA-256 of the ids as little-endian `u16`s. Each library is called
through the function that makes no Python object for each id, on one thread.
"""

import hashlib
import json
import os
import sys
import time

os.environ["RAYON_NUM_THREADS"] = "1"

import numpy


def gigatoken(tokenizer):
    import gigatoken

    encoder = gigatoken.Tokenizer(tokenizer)
    return lambda texts: encoder.encode_batch(texts, parallel=False)


def gigatoken_ids(batch):
    return numpy.asarray(batch.layout.content.data)


def fastokens(tokenizer):
    from fastokens import _native

    encoder = _native.Tokenizer.from_file(tokenizer)
    return encoder.encode_batch_flat


def fastokens_ids(batch):
    return numpy.frombuffer(batch[0], numpy.uint32)


PEERS = {"gigatoken": (gigatoken, gigatoken_ids), "fastokens": (fastokens, fastokens_ids)}


def main():
    peer, tokenizer, documents, passes, limit = sys.argv[1:]
    texts, length = [], 0
    with open(documents, encoding="utf-8") as file:
        for line in file:
            text = json.loads(line)["text"]
            size = len(text.encode())
            if length + size > int(limit):
                break
            length += size
            texts.append(text)

    make, to_ids = PEERS[peer]
    # Whatever a library loads on its first call isn't encoding; another encoder gets that done.
    make(tokenizer)(["a"])
    encode = make(tokenizer)
    seconds = []
    for _ in range(int(passes)):
        begin = time.process_time()
        batch = encode(texts)
        seconds.append(time.process_time() - begin)
    ids = to_ids(batch)
    digest = hashlib.sha256(ids.astype("<u2").tobytes()).hexdigest()
    print(json.dumps({"seconds": seconds, "bytes": length, "tokens": len(ids), "sha256": digest}))


if __name__ == "__main__":
    main()
