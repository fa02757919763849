package access

import (
	"crypto/rand"
	"hash/crc32"
	"strings"
)

// A key is sk_live_ or sk_test_, 30 random Base62 characters (178 bits), and
// the CRC-32 of all before in 6 Base62 characters, which tells typing errors
// and noise from keys without asking the database.
const (
	livePrefix  = "sk_live_"
	testPrefix  = "sk_test_"
	randomChars = 30
	sumChars    = 6
	maxToken    = 128
	shownChars  = 12 // of a key, in lists
	base62      = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// newToken makes a secret key.
func newToken(test bool) string {
	var b strings.Builder
	b.WriteString(map[bool]string{true: testPrefix, false: livePrefix}[test])
	var one [1]byte
	for n := 0; n < randomChars; {
		rand.Read(one[:])
		// 248 is the largest multiple of 62 in a byte: above it the choice would be uneven.
		if one[0] < 248 {
			b.WriteByte(base62[one[0]%62])
			n++
		}
	}
	return b.String() + checksum(b.String())
}

func checksum(s string) string {
	sum := crc32.ChecksumIEEE([]byte(s))
	out := make([]byte, sumChars)
	for i := sumChars - 1; i >= 0; i-- {
		out[i] = base62[sum%62]
		sum /= 62
	}
	return string(out)
}

// plausible reports whether a token may be a key at all. Keys of our own form
// must have the right checksum; others (imported ones) must begin with sk_.
func plausible(token string) bool {
	if len(token) > maxToken || !strings.HasPrefix(token, "sk_") {
		return false
	}
	for i := range len(token) {
		if token[i] < 0x21 || token[i] > 0x7e {
			return false
		}
	}
	n := len(livePrefix) + randomChars
	ours := len(token) == n+sumChars && (strings.HasPrefix(token, livePrefix) || strings.HasPrefix(token, testPrefix))
	return !ours || checksum(token[:n]) == token[n:]
}
