/*
 * hash - SHA-256 where FORMATS says so (libsodium), XXH3 for identity and speed.
 */
#ifndef KOLM_HASH_H
#define KOLM_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { HASH_HEX_BYTES = 65, XXH3_HEX_BYTES = 33 };

#define EMPTY_SHA "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* sha256_hex(data, len, out): lower-case hex. */
void sha256_hex(const void *data, size_t len, char out[HASH_HEX_BYTES]);

/* sha256_fd(fd, from, len, out, err): of ${len} bytes at offset ${from}; SIZE_MAX: to the end. Does
 * not move the file offset. -EIO when the file is shorter than asked. */
int sha256_fd(int fd, uint64_t from, uint64_t len, char out[HASH_HEX_BYTES], struct err *err);

/*
 * base_digest(fd, bytes, out, err): identity of a base model (PROTOCOLS section 4): XXH3-128 in hex
 * of a file's bytes; of a folder, of the lines "NAME BYTES XXH3-128\n" of its *.json *.jinja
 * *.model *.safetensors in byte order; of a GGUF in several parts, of the lines of its parts.
 * ${bytes}: their sum.
 */
int base_digest(int fd, uint64_t *bytes, char out[XXH3_HEX_BYTES], struct err *err);

/* inode_number(path): a stable inode number of a mount path: XXH3-64, never 0 or 1. */
uint64_t inode_number(const char *path, size_t len);

void hex_encode(const unsigned char *data, size_t len, char *out); /* 2 * len + 1 bytes */

#endif
