// Package seal keeps secrets: it seals what must be read again and digests what must only be recognised.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// KeySize is the length of a master key in bytes.
const KeySize = 32

// version is the first byte of everything sealed, so that a later key or cipher can stand beside this one.
const version = 1

// Box seals and digests under keys derived (HKDF-SHA-256, RFC 5869) from one master key.
type Box struct {
	master []byte
	aead   cipher.AEAD
}

// New makes a Box of a master key of KeySize bytes.
func New(master []byte) (*Box, error) {
	if len(master) != KeySize {
		return nil, fmt.Errorf("master key has %d bytes, not %d", len(master), KeySize)
	}
	key, err := hkdf.Key(sha256.New, master, nil, "enrichd seal", 32)
	if err != nil {
		return nil, fmt.Errorf("derive sealing key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("sealing cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("sealing mode: %w", err)
	}
	return &Box{master: master, aead: aead}, nil
}

// NewKey returns a fresh random master key.
func NewKey() []byte {
	key := make([]byte, KeySize)
	rand.Read(key) // never fails, says crypto/rand
	return key
}

// ParseKey reads a master key written as 64 hex digits or as base64.
func ParseKey(s string) ([]byte, error) {
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawURLEncoding.DecodeString} {
		if key, err := decode(s); err == nil && len(key) == KeySize {
			return key, nil
		}
	}
	return nil, errors.New("a master key is 32 bytes, written as 64 hex digits or as base64")
}

// Seal encrypts plain with AES-256-GCM and binds it to aad, which Open must be given again.
func (b *Box) Seal(plain, aad []byte) []byte {
	nonce := make([]byte, 1+b.aead.NonceSize(), 1+b.aead.NonceSize()+len(plain)+b.aead.Overhead())
	nonce[0] = version
	rand.Read(nonce[1:])
	return b.aead.Seal(nonce, nonce[1:], plain, aad)
}

// Open returns what Seal was given, or an error when sealed or aad was changed or the key is another one.
func (b *Box) Open(sealed, aad []byte) ([]byte, error) {
	n := 1 + b.aead.NonceSize()
	if len(sealed) < n || sealed[0] != version {
		return nil, errors.New("not sealed by this version")
	}
	plain, err := b.aead.Open(nil, sealed[1:n], sealed[n:], aad)
	if err != nil {
		return nil, errors.New("sealed value cannot be opened: wrong master key, or changed")
	}
	return plain, nil
}

// Digest returns the keyed digest (HMAC-SHA-256) of data for one purpose; digests of different purposes never meet.
func (b *Box) Digest(purpose string, data []byte) []byte {
	key, err := hkdf.Key(sha256.New, b.master, nil, "enrichd digest "+purpose, 32)
	if err != nil {
		panic(err) // only for lengths HKDF cannot give
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	return mac.Sum(nil)
}
