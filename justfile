# The only list of commands. `just` alone prints it.

target := env("CARGO_TARGET_DIR", "target")

_list:
    @just --list --unsorted

# The whole way, on built-in files
demo:
    cargo run --release -- demo --overwrite

# Everything CI runs
check: format lint test docs tools

# Formatting of Rust and TOML
format:
    cargo fmt --all --check
    taplo fmt --check --config .taplo.toml

# Clippy on all targets, warnings are errors
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# Every test
test:
    cargo test --workspace

# The documentation, warnings are errors
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Spelling and dependencies
tools:
    typos --config .typos.toml
    cargo-deny --config .deny.toml check licenses bans sources

# The official validators over the license documents that the command writes; installs them once
license-validators:
    cargo build --bin stablelm
    python3 crates/stablelm-license/peers/validate.py --stablelm {{ target }}/debug/stablelm --cache {{ target }}/license-validators

# Accept changed snapshots and generated documents
bless:
    STABLELM_BLESS=1 INSTA_UPDATE=always cargo test --workspace

# Micro-benchmarks of the tokenizer
bench *options:
    cargo bench -p stablelm-tokenizer --bench encode -- {{ options }}

# Micro-benchmarks of the inference engine's kernels
bench-kernels *options:
    cargo bench -p stablelm-inference --bench dense --bench packed --bench attend -- {{ options }}

# The tokenizer beside its peers; fetches packages once (about ten minutes)
bench-tokenizer tokenizer="fixtures/tokenizer" *options:
    cargo build --release --bin stablelm
    cargo build --release --manifest-path crates/stablelm-tokenizer/peers/Cargo.toml --target-dir {{ target }}/bench-tokenizer/build
    {{ target }}/bench-tokenizer/build/release/bench-tokenizer compare --folder {{ target }}/bench-tokenizer --stablelm {{ target }}/release/stablelm --tokenizer {{ tokenizer }} {{ options }}

# `data prepare` beside datatrove's filters, over documents of yours or generated ones; fetches packages once
bench-prepare documents=(target / "bench-prepare/generated.jsonl") *options:
    mkdir -p {{ target }}/bench-prepare
    cargo build --release --bin stablelm
    cargo run --release -p stablelm-testkit --example write_corpus -- {{ target }}/bench-prepare/generated.jsonl
    python3 crates/stablelm-data/peers/bench_prepare.py --folder {{ target }}/bench-prepare --stablelm {{ target }}/release/stablelm --documents {{ documents }} {{ options }}

# `stablelm bench` beside llama.cpp and transformers; fetches and builds them once (half an hour)
bench-run model *options:
    cargo build --release --bin stablelm
    cargo build --release -p stablelm-inference --example limits
    python3 crates/stablelm-inference/peers/bench_run.py {{ model }} --folder {{ target }}/bench-run --stablelm {{ target }}/release/stablelm --limits {{ target }}/release/examples/limits {{ options }}

# `convert` beside `cp` and the Python way, on a checkpoint the size of the 3B; needs 25 GB of disk, torch and safetensors
bench-convert python="python3" *options:
    cargo build --release --bin stablelm
    {{ python }} crates/stablelm-checkpoint/peers/bench_convert.py --folder {{ target }}/bench-convert --stablelm {{ target }}/release/stablelm {{ options }}

# Compile the CUDA kernels to the PTX in the binary; fetches NVRTC once, needs no GPU
ptx:
    python3 crates/stablelm-inference/peers/make_ptx.py --folder {{ target }}/nvrtc

# Compile the CUDA kernels for every architecture and tell what they take; needs no GPU
check-kernels *options:
    python3 crates/stablelm-inference/peers/check_kernels.py --folder {{ target }}/nvrtc {{ options }}

# Run the CUDA kernels on the processor and compare them with plain sums; needs a C++ compiler
emulate-kernels:
    python3 crates/stablelm-inference/peers/emulate_kernels.py --folder {{ target }}/emulate

# The device tests and the command with a stand-in for NVIDIA's driver, whose work runs as late as it may; `--orders` has more
emulate-device *options:
    python3 crates/stablelm-inference/peers/emulate_driver.py --folder {{ target }}/emulate-device {{ options }}

# On a machine with a GPU: device tests, reference values, and speed beside transformers (ten minutes)
gpu-check *options:
    python3 crates/stablelm-inference/peers/gpu_check.py --folder {{ target }}/gpu-check {{ options }}

# Fuzz the tokenizer (decode_stream, engines, library, load), with nightly and cargo-fuzz
fuzz name *options:
    cargo +nightly fuzz run --fuzz-dir crates/stablelm-tokenizer/fuzz {{ name }} -- -dict=crates/stablelm-tokenizer/fuzz/dictionary.txt {{ options }}

# Fuzz the readers of data (json_row, python_literal, recipe, parquet_file, arrow_file), with nightly and cargo-fuzz
fuzz-data name *options:
    cargo +nightly fuzz run --fuzz-dir crates/stablelm-data/fuzz {{ name }} -- {{ options }}

# Fuzz the readers of weights (index, pickle, safetensors_file, torch_file), with nightly and cargo-fuzz
fuzz-checkpoint name *options:
    cargo +nightly fuzz run --fuzz-dir crates/stablelm-checkpoint/fuzz {{ name }} -- {{ options }}

# Fuzz the reader of GGUF files (gguf), with nightly and cargo-fuzz
fuzz-inference name *options:
    cargo +nightly fuzz run --fuzz-dir crates/stablelm-inference/fuzz {{ name }} -- {{ options }}

# Make the fixtures again (about ten minutes: the last step trains a model)
fixtures: fixtures-data fixtures-model

# The model: text, tokens, training, and our own conversion to a GPT-NeoX checkpoint of two ranks
fixtures-model:
    cargo run --release -p stablelm-testkit --example write_corpus -- target/corpus.jsonl
    cargo run --release -- data tokenize target/corpus.jsonl --output target/corpus --tokenizer fixtures/tokenizer --append-eod --overwrite
    cargo run --release -p stablelm-inference --example train_fixture_model -- target/corpus_text_document.bin target/fixture-model 900
    SOURCE_DATE_EPOCH=1795478400 cargo run --release -- convert target/fixture-model target/fixture-neox --to neox --tensor-parallel 2 --component fixture-model --overwrite
    cp -r target/fixture-neox/latest target/fixture-neox/global_step0 target/fixture-neox/ledger.json fixtures/model/

# Tokenizer and documents, from a seed
fixtures-data:
    cargo run --release -p stablelm-tokenizer --example train_fixture_tokenizer -- fixtures/tokenizer/tokenizer.json
    cargo run --release -p stablelm-data --example make_fixture_data -- fixtures/data
    cargo run --release -p stablelm-data --example make_source_fixtures
