/*
 * Prints ICU's root collation: each code point, and each contraction, with its
 * collation elements as PRIMARY.SECONDARY.TERTIARY in hexadecimal. Code points that
 * have nothing but an implicit weight of unassigned ones, and Hangul syllables, which
 * have those of their jamo, are left out.
 *
 *     cc -O2 -o dump dump.c -licui18n -licuuc && ./dump | go run .. -o ../../root.bin
 */
#include <stdio.h>
#include <unicode/ucol.h>
#include <unicode/ucoleitr.h>
#include <unicode/uset.h>
#include <unicode/utf16.h>
#include <unicode/uvernum.h>

static UCollator *root;

/* An element comes as one integer, or as two if it needs more bits: the second is
 * marked by the two high bits of its tertiary byte, where the first has the case. */
static int elements(const UChar *s, int n, unsigned ce[][3]) {
    UErrorCode status = U_ZERO_ERROR;
    UCollationElements *it = ucol_openElements(root, s, n, &status);
    int count = 0;
    for (int32_t e = ucol_next(it, &status); e != UCOL_NULLORDER; count++) {
        unsigned *to = ce[count];
        to[0] = (unsigned)e & 0xffff0000u;
        to[1] = ((unsigned)e >> 8 & 0xff) << 8;
        to[2] = ((unsigned)e & 0x3f) << 8;
        e = ucol_next(it, &status);
        if (e != UCOL_NULLORDER && (e & 0xc0) == 0xc0) {
            to[0] |= (unsigned)e >> 16;
            to[1] |= (unsigned)e >> 8 & 0xff;
            to[2] |= (unsigned)e & 0x3f;
            e = ucol_next(it, &status);
        }
    }
    ucol_closeElements(it);
    return count;
}

static void print(const UChar *s, int n) {
    unsigned ce[64][3];
    int count = elements(s, n, ce);
    if (count == 1 && ce[0][0] >> 24 == 0xfe) return; /* unassigned */
    for (int i = 0; i < n;) {
        UChar32 c;
        const char *join = i > 0 ? "+" : "";
        U16_NEXT(s, i, n, c);
        printf("%s%X", join, (unsigned)c);
    }
    for (int i = 0; i < count; i++) printf(" %X.%X.%X", ce[i][0], ce[i][1], ce[i][2]);
    printf("\n");
}

int main(void) {
    UErrorCode status = U_ZERO_ERROR;
    root = ucol_open("", &status);
    if (U_FAILURE(status)) return 1;
    fprintf(stderr, "ICU %s\n", U_ICU_VERSION);
    for (UChar32 c = 0; c <= 0x10ffff; c++) {
        UChar s[2];
        int n = 0;
        if (U_IS_SURROGATE(c) || (0xac00 <= c && c <= 0xd7a3)) continue;
        U16_APPEND_UNSAFE(s, n, c);
        print(s, n);
    }
    USet *contractions = uset_openEmpty();
    ucol_getContractionsAndExpansions(root, contractions, NULL, 1, &status);
    for (int i = 0; i < uset_getItemCount(contractions); i++) {
        UChar s[64];
        UChar32 from, to;
        int n = uset_getItem(contractions, i, &from, &to, s, 64, &status);
        if (n >= 2 && s[0] != 0xfdd1) print(s, n); /* U+FDD1: marks of alphabetic indexes */
    }
    return U_FAILURE(status);
}
