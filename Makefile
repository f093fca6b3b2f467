# kolmfs - see README.md. `make help` says what there is.
#
# One library per folder, one program per main file, one test binary per file of tests/unit. SAN=1 builds the same things
# under build-san/ with the address and undefined-behaviour sanitizers. V=1 prints full commands.

.DEFAULT_GOAL := all
PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= cc
ifeq ($(origin CC),default)
CC := gcc
endif
B       := $(if $(FUZZ),build-fuzz,$(if $(SAN),build-san,$(if $(ABLATE),build/ablate,build)))
Q       := $(if $(V),,@)
JOBS    ?= $(shell nproc)
SHARED  ?= $(abspath ../shared)
MODEL_DIR ?= $(or $(KOLM_MODELS),$(HOME)/.cache/kolm-models)
MODEL   := $(MODEL_DIR)/SmolLM2-135M-Instruct-Q4_1.gguf
EXAMPLE ?= redactor

PACKAGES := build-essential pkg-config fuse3 libfuse3-dev libcjson-dev libxxhash-dev libzstd-dev libcriterion-dev \
	libsodium-dev libzip-dev libjavascriptcoregtk-4.1-dev libseccomp-dev libutf8proc-dev libpcre2-dev libstemmer-dev libxml2-dev python3 python3-pip \
	jq rsync busybox cpio zip less file curl zsh strace iproute2 e2fsprogs mandoc procps
# tools of the matrix that make check tries only where they are
PACKAGES_FAULT = fish ripgrep vim git xxd xfsprogs btrfs-progs $(if $(shell command -v node),,nodejs) $(if $(shell command -v go),,golang-go)

PKGS    := fuse3 libcjson libxxhash libzstd libsodium libzip libseccomp libutf8proc libpcre2-8 libxml-2.0
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wconversion
CFLAGS  ?= -O2 -g
FLAGS    = -std=c11 -D_GNU_SOURCE -DFUSE_USE_VERSION=312 -I. -Ikolmfs $(WARN) -ffp-contract=off -fno-strict-aliasing -fstack-protector-strong \
	-MMD -MP $(if $(ABLATE),-DKOLM_ABLATE) $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
SANFLAGS := $(if $(SAN)$(FUZZ),-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer) \
	$(if $(FUZZ),-fsanitize=fuzzer-no-link)
VERSION := 0.1.0

# clang does not read GCC's target pragmas
EXTRA_trainer/qkern_avx2 := $(if $(FUZZ),-mavx2 -mfma -mf16c -mavxvnni)
EXTRA_trainer/qkern_avx512 := $(if $(FUZZ),-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni)

LIBDIRS  := base:kolmfs/base store:kolmfs/store artifact:kolmfs/artifact loop:kolmfs/loop rag:rag lm:trainer
# main files are not part of their folder's library
MAINS    := trainer/main.c rag/main.c
define lib
SRC_$(1) := $$(filter-out $$(MAINS),$$(wildcard $(2)/*.c))
$$(B)/lib/$(1).a: $$(SRC_$(1):%.c=$$(B)/obj/%.o)
endef
# the file server without its main, for the fuzz targets
SRC_fs := $(filter-out kolmfs/spawner.c kolmfs/main.c,$(wildcard kolmfs/*.c))
$(B)/lib/fs.a: $(SRC_fs:%.c=$(B)/obj/%.o)
# the spawner and the walls it builds around its children: the server's and the command line's
SRC_spawn := kolmfs/spawner.c $(wildcard kolmfs/runner/sandbox*.c)
$(B)/lib/spawn.a: $(SRC_spawn:%.c=$(B)/obj/%.o)
$(foreach l,$(LIBDIRS),$(eval $(call lib,$(firstword $(subst :, ,$(l))),$(lastword $(subst :, ,$(l))))))
LIB      = $(patsubst %,$(B)/lib/%.a,$(1))

# which libraries a program is made of, in link order, and which system libraries it needs
SYS_base := $(shell pkg-config --libs libcjson libxxhash libsodium libseccomp 2>/dev/null) -lm -lpthread
SYS_rag  := $(shell pkg-config --libs libzstd libutf8proc libzip libxml-2.0 2>/dev/null) -lstemmer
SYS_lm   := $(shell pkg-config --libs libutf8proc libpcre2-8 2>/dev/null)
SYS_zip  := $(shell pkg-config --libs libzip libutf8proc 2>/dev/null)
SYS_fuse := $(shell pkg-config --libs fuse3 2>/dev/null)
SYS_js   := $(shell pkg-config --libs javascriptcoregtk-4.1 2>/dev/null)
CFLAGS_kolmfs/runner/js := $(shell pkg-config --cflags javascriptcoregtk-4.1 2>/dev/null)

KOLM     := loop store artifact rag spawn base
PROGRAMS := kolmfs kolm kolm-trainer kolm-runner kolm-cell kolm-indexer
BINS     := $(PROGRAMS:%=$(B)/bin/%) $(if $(ABLATE),$(B)/bin/hostile)

FORCE:
.PHONY: FORCE all help deps check check-fault check-long check-peers demo install uninstall clean fmt lint model units faults fuzz fuzzers benches peers mpi \
	bench bench-rag bench-fs bench-recipes bench-peers
all: $(BINS)

help:
	@printf '%s\n' \
	'make            build the programs into build/bin' \
	'make deps       install what is missing with apt' \
	'make check      install, build, run all tests (SAN=1: under sanitizers)' \
	'make check-fault  the long fault and airgap suites' \
	'make check-long   the same at length: hours' \
	'make check-peers  against PEFT, transformers and llama.cpp (installs them under build/)' \
	'make fuzz T=60  each fuzz target for T seconds (ONLY=name for one)' \
	'make bench      speed and memory of the engine; bench-rag, bench-fs, bench-recipes, bench-peers' \
	'make mpi        kolm-trainer-mpi, the trainer over many machines' \
	'make demo       play the loop on examples/redactor (EXAMPLE=triage for the other)' \
	'make install    PREFIX=/usr/local DESTDIR=' \
	'make clean      remove build/, build-san/ and build-fuzz/'

deps:
	@tools/deps $(PACKAGES)

model:
	@tools/get-model $(MODEL_DIR)

SRC_runner := $(filter-out kolmfs/runner/cell%.c kolmfs/runner/js%.c kolmfs/runner/sandbox%.c,$(wildcard kolmfs/runner/*.c))
SRC_cell   := $(wildcard kolmfs/runner/cell*.c kolmfs/runner/js*.c)
SRC_tools  := $(wildcard tools/*.c)
# ABLATE=1, for tests/airgap only: layers of the sandbox can be taken away, the cell has many more probes, and `hostile` watches it. Never installed.
ifdef ABLATE
SRC_cell   := $(filter-out kolmfs/runner/cell_probe.c,$(SRC_cell)) tests/airgap/probes.c
endif
O          = $(1:%.c=$(B)/obj/%.o)

$(B)/bin/kolmfs: $(call O,kolmfs/main.c) $(call LIB,fs $(KOLM))
$(B)/bin/kolmfs: SYS = $(SYS_fuse) $(SYS_zip) $(SYS_rag) $(SYS_base)
$(B)/bin/kolm: $(call O,$(SRC_tools)) $(call LIB,$(KOLM))
$(B)/bin/kolm: SYS = $(SYS_zip) $(SYS_rag) $(SYS_base)
$(B)/bin/kolm-runner: $(call O,$(SRC_runner)) $(call LIB,store artifact rag lm base)
$(B)/bin/kolm-runner: SYS = $(SYS_zip) $(SYS_rag) $(SYS_lm) $(SYS_base)
$(B)/bin/hostile: $(call O,tests/airgap/hostile.c tests/airgap/js_probes.c) $(call LIB,spawn base)
$(B)/bin/hostile: SYS = $(SYS_base)
ifdef SAN
# the cell is never sanitised: it lives under a memory limit and a system-call filter that no sanitizer's runtime survives
$(B)/bin/kolm-cell: FORCE
	@$(MAKE) --no-print-directory SAN= build/bin/kolm-cell
	@mkdir -p $(@D) && cmp -s build/bin/kolm-cell $@ || cp build/bin/kolm-cell $@
else
$(B)/bin/kolm-cell: $(call O,$(SRC_cell)) $(call LIB,base)
$(B)/bin/kolm-cell: SYS = $(SYS_js) $(SYS_base)
endif
$(B)/bin/kolm-trainer: $(call O,trainer/main.c) $(call LIB,lm base)
$(B)/bin/kolm-trainer: SYS = $(SYS_lm) $(SYS_base)
$(B)/bin/kolm-indexer: $(call O,rag/main.c) $(call LIB,rag base)
$(B)/bin/kolm-indexer: SYS = $(SYS_rag) $(SYS_base)

$(filter-out $(if $(SAN),$(B)/bin/kolm-cell),$(BINS)):
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(SANFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -Wl,--as-needed $(SYS)

$(B)/lib/%.a:
	@mkdir -p $(@D)
	@echo "  AR      $@"
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(FLAGS) -DKOLM_VERSION='"$(VERSION)"' $(CFLAGS) $(SANFLAGS) $(EXTRA_$*) $(if $(findstring kolmfs/runner/js,$<),$(CFLAGS_kolmfs/runner/js)) -c -o $@ $<

# unit tests: tests/unit/AREA_name.c links the libraries its AREA needs
UNIT     := $(patsubst tests/unit/%.c,$(B)/test/%,$(wildcard tests/unit/*.c))
UNIT_base     := base
UNIT_spawn    := spawn base
UNIT_store    := store artifact base
UNIT_artifact := artifact base
UNIT_loop     := loop store artifact rag spawn base
UNIT_rag      := rag base
UNIT_lm       := lm base
UNIT_runner   := store artifact rag lm base
UNIT_fs       := fs loop store artifact rag spawn base
.SECONDEXPANSION:
$(B)/test/%: tests/unit/%.c $$(call LIB,$$(UNIT_$$(firstword $$(subst _, ,$$*)))) $$(UNIT_OBJ_$$*)
	@mkdir -p $(@D)
	@echo "  TEST    $@"
	$(Q)$(CC) $(FLAGS) -Wno-conversion -Wno-missing-prototypes $(CFLAGS) $(SANFLAGS) -MF $@.d -o $@ $< $(UNIT_OBJ_$*) \
		-Wl,--start-group $(filter %.a,$^) -Wl,--end-group $$(pkg-config --libs criterion) $(if $(filter fs_%,$*),$(SYS_fuse)) $(SYS_zip) $(SYS_rag) $(SYS_lm) $(SYS_base)

# fuzz targets: tests/fuzz/AREA_name.c has LLVMFuzzerTestOneInput; tests/fuzz/seeds/AREA_name/ are its inputs, those that once crashed among them.
# `make fuzz T=60` runs each with clang's libFuzzer; `make check` plays the seeds through the same code with gcc (and SAN=1 under the sanitizers).
FUZZERS  := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/*.c))
T        ?= 60
$(B)/fuzz/%: tests/fuzz/%.c $(if $(FUZZ),,tests/fuzz/replay/main.c) $$(call LIB,$$(UNIT_$$(firstword $$(subst _, ,$$*))))
	@mkdir -p $(@D)
	@echo "  FUZZ    $@"
	$(Q)$(CC) $(FLAGS) -Wno-conversion -Wno-missing-prototypes $(CFLAGS) $(SANFLAGS) $(if $(FUZZ),-fsanitize=fuzzer) -MF $@.d -o $@ $(filter %.c,$^) \
		-Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(SYS_fuse) $(SYS_zip) $(SYS_rag) $(SYS_lm) $(SYS_base)

# measured programs: tests/bench/AREA_name.c
BENCHES  := $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c))
$(B)/bench/%: tests/bench/%.c $$(call LIB,$$(UNIT_$$(firstword $$(subst _, ,$$*))))
	@mkdir -p $(@D)
	@echo "  BENCH   $@"
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(SANFLAGS) -MF $@.d -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
		$(SYS_fuse) $(SYS_zip) $(SYS_rag) $(SYS_lm) $(SYS_base)

# what the fault suites drive: tests/fault/NAME.c, on the whole of libkolm
FAULTS   := $(patsubst tests/fault/%.c,$(B)/fault/%,$(wildcard tests/fault/*.c))
$(B)/fault/%: tests/fault/%.c $(call LIB,$(KOLM))
	@mkdir -p $(@D)
	@echo "  FAULT   $@"
	$(Q)$(CC) $(FLAGS) -Wno-conversion -Wno-missing-prototypes $(CFLAGS) $(SANFLAGS) -MF $@.d -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
		$(SYS_zip) $(SYS_rag) $(SYS_base) -ldl

# preloaded into a server by tests/mount/machine.sh
MISCHIEF := $(B)/fault/mischief.so
$(MISCHIEF): tests/mount/mischief.c
	@mkdir -p $(@D)
	@echo "  FAULT   $@"
	$(Q)$(CC) $(FLAGS) -Wno-missing-prototypes $(CFLAGS) -shared -fPIC -MF $(B)/fault/mischief.d -o $@ $<

units: $(UNIT) $(FUZZERS)
faults: $(FAULTS) $(MISCHIEF)
fuzzers: $(FUZZERS)
benches: $(BENCHES)

fuzz: deps
	@tools/deps clang libclang-rt-14-dev
	@$(MAKE) --no-print-directory -j$(JOBS) FUZZ=1 CC=clang fuzzers
	@tests/fuzz/run build-fuzz/fuzz $(T) $(ONLY)

# bench: the engine; bench-rag, bench-fs, bench-recipes, bench-peers: see `make help`. Ratios from one run; never a test.
bench bench-rag bench-fs bench-recipes bench-peers: deps
	@$(MAKE) --no-print-directory model
	@$(MAKE) --no-print-directory -j$(JOBS) all benches
	@SHARED=$(SHARED) MODEL=$(MODEL) BUILD=$(B) tests/bench/$@.sh

# the real packages in a virtual environment of their own: PEFT, transformers, llama.cpp (5.7 GB, once)
peers:
	@tools/get-peers $(B)/peers

check-peers: deps
	@$(MAKE) --no-print-directory model peers
	@$(MAKE) --no-print-directory -j$(JOBS) all $(B)/peers/lm_ask
	@SHARED=$(SHARED) MODEL=$(MODEL) BUILD=$(B) PEERS=$(abspath $(B)/peers) tests/peers/run

$(B)/peers/lm_ask: tests/peers/lm_ask.c $(call LIB,lm base)
	@mkdir -p $(@D)
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(SANFLAGS) -MF $(B)/obj/lm_ask.d -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(SYS_lm) $(SYS_base)

# recursion, so that a fresh machine has its packages (and pkg-config its answers) before anything is compiled
check: deps
	@$(MAKE) --no-print-directory model
	@$(MAKE) --no-print-directory -j$(JOBS) all units faults
	@SHARED=$(SHARED) MODEL=$(MODEL) BUILD=$(B) tests/run

check-fault: deps
	@tools/deps $(PACKAGES_FAULT)
	@$(MAKE) --no-print-directory model
	@$(MAKE) --no-print-directory -j$(JOBS) all faults
	@SHARED=$(SHARED) MODEL=$(MODEL) BUILD=$(B) tests/run-fault

# the same suites at length: hours
check-long: deps
	@tools/deps $(PACKAGES_FAULT)
	@$(MAKE) --no-print-directory model
	@$(MAKE) --no-print-directory -j$(JOBS) all faults
	@LONG=1 SHARED=$(SHARED) MODEL=$(MODEL) BUILD=$(B) tests/run-fault

# the trainer over many machines, on the site's MPI
mpi: deps
	@tools/deps openmpi-bin libopenmpi-dev
	@$(MAKE) --no-print-directory $(B)/bin/kolm-trainer-mpi

$(B)/bin/kolm-trainer-mpi: trainer/mpi/main.c $(call LIB,lm base)
	@echo "  MPICC   $@"
	$(Q)OMPI_CC=$(CC) mpicc $(FLAGS) $(CFLAGS) $(SANFLAGS) -MF $(B)/obj/trainer/mpi.d -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
		$(SYS_lm) $(SYS_base)

demo: deps
	@$(MAKE) --no-print-directory model
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@MODEL=$(MODEL) BUILD=$(B) EXAMPLE=$(EXAMPLE) tools/demo

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(foreach s,1 5 7,$(DESTDIR)$(PREFIX)/share/man/man$(s))
	install -m 755 $(BINS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(wildcard man/*.1) $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 $(wildcard man/*.5) $(DESTDIR)$(PREFIX)/share/man/man5
	install -m 644 $(wildcard man/*.7) $(DESTDIR)$(PREFIX)/share/man/man7

uninstall:
	rm -f $(PROGRAMS:%=$(DESTDIR)$(PREFIX)/bin/%)
	rm -f $(patsubst man/%,$(DESTDIR)$(PREFIX)/share/man/man1/%,$(wildcard man/*.1)) \
		$(patsubst man/%,$(DESTDIR)$(PREFIX)/share/man/man5/%,$(wildcard man/*.5)) \
		$(patsubst man/%,$(DESTDIR)$(PREFIX)/share/man/man7/%,$(wildcard man/*.7))

clean:
	rm -rf build build-san build-fuzz

fmt:
	clang-format -i $$(git ls-files '*.c' '*.h')

lint:
	mandoc -T lint -W warning man/*.[157]

-include $(shell find $(B) -name '*.d' 2>/dev/null)
