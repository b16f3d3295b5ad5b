/* SPDX-License-Identifier: Apache-2.0 */
#include "utf8.h"

#include <string.h>

size_t wf_utf8_length(const char *text, size_t bytes) {
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (bytes == 0) return 0;
    unsigned char first = (unsigned char)text[0];
    if (first < 0x80) return 1;
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || length > bytes) return 0;
    unsigned point = first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80) return 0;
        point = point << 6 | ((unsigned char)text[i] & 0x3f);
    }
    if (point < least[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return 0;
    return length;
}

size_t wf_utf8_clean(char *to, size_t room, const char *from, size_t bytes) {
    size_t used = 0;
    for (size_t at = 0, length; at < bytes; at += length) {
        const char *piece = from + at;
        length = wf_utf8_length(piece, bytes - at);
        size_t piece_bytes = length;
        if (length == 0) {
            piece = WF_UTF8_REPLACEMENT;
            piece_bytes = sizeof WF_UTF8_REPLACEMENT - 1;
            length = 1;
        } else if ((unsigned char)*piece < 0x20 || *piece == 0x7f) {
            piece = " ";
        }
        if (piece_bytes >= room - used) break;
        memcpy(to + used, piece, piece_bytes);
        used += piece_bytes;
    }
    to[used] = '\0';
    return used;
}
