// Laravel's Encrypter and CookieValuePrefix.

package stores

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
)

// laravelKey is an APP_KEY. Its length selects AES-128 or AES-256; the payload
// selects CBC or GCM.
type laravelKey struct {
	key    []byte
	block  cipher.Block
	gcm    cipher.AEAD
	prefix string // of cookies
}

func newLaravelKey(secret, cookie string) (laravelKey, error) {
	var k laravelKey
	k.key = []byte(secret)
	if encoded, ok := strings.CutPrefix(secret, "base64:"); ok {
		var err error
		if k.key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return k, errors.New("secret: what follows base64: is not base64, as in APP_KEY")
		}
	}
	if len(k.key) != 16 && len(k.key) != 32 {
		return k, errors.New("secret: a key has 16 or 32 bytes: want the whole of APP_KEY, with base64: in front")
	}
	var err error
	if k.block, err = aes.NewCipher(k.key); err != nil {
		return k, err
	}
	if k.gcm, err = cipher.NewGCM(k.block); err != nil {
		return k, err
	}
	mac := hmac.New(sha1.New, k.key)
	mac.Write([]byte(cookie + "v2"))
	k.prefix = hex.EncodeToString(mac.Sum(nil)) + "|"
	return k, nil
}

// cutPrefix removes the prefix that names the cookie a text was encrypted for,
// so that no other cookie of the application can be sent as the session's.
func (k *laravelKey) cutPrefix(text string) (string, bool) {
	if len(text) < len(k.prefix) ||
		subtle.ConstantTimeCompare([]byte(text[:len(k.prefix)]), []byte(k.prefix)) != 1 {
		return "", false
	}
	return text[len(k.prefix):], true
}

// decrypt opens a payload: base64 of JSON whose parts are base64.
func (k *laravelKey) decrypt(payload string) (string, bool) {
	text, err := base64.StdEncoding.DecodeString(payload)
	if err != nil {
		return "", false
	}
	var parts struct{ IV, Value, MAC, Tag string }
	if json.Unmarshal(text, &parts) != nil {
		return "", false
	}
	iv, err1 := base64.StdEncoding.DecodeString(parts.IV)
	value, err2 := base64.StdEncoding.DecodeString(parts.Value)
	tag, err3 := base64.StdEncoding.DecodeString(parts.Tag)
	if err1 != nil || err2 != nil || err3 != nil {
		return "", false
	}
	if len(tag) > 0 {
		return k.openGCM(iv, value, tag)
	}
	mac := hmac.New(sha256.New, k.key)
	mac.Write([]byte(parts.IV + parts.Value))
	if !hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(parts.MAC)) {
		return "", false
	}
	return k.openCBC(iv, value)
}

func (k *laravelKey) openGCM(iv, value, tag []byte) (string, bool) {
	if len(iv) != k.gcm.NonceSize() || len(tag) != k.gcm.Overhead() {
		return "", false
	}
	text, err := k.gcm.Open(nil, iv, append(value, tag...), nil)
	return string(text), err == nil
}

// openCBC decrypts a value whose MAC was verified.
func (k *laravelKey) openCBC(iv, value []byte) (string, bool) {
	size := k.block.BlockSize()
	if len(iv) != size || len(value) == 0 || len(value)%size != 0 {
		return "", false
	}
	cipher.NewCBCDecrypter(k.block, iv).CryptBlocks(value, value)
	padding := int(value[len(value)-1])
	if padding == 0 || padding > size {
		return "", false
	}
	return string(value[:len(value)-padding]), true
}
