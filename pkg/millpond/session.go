package millpond

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	cookieName = "AuthSession"
	// DefaultSessionLife is CouchDB's.
	DefaultSessionLife = 10 * time.Minute
)

// sessions makes and checks cookies. They carry their own proof, so nothing is
// kept of them.
type sessions struct {
	secret []byte
}

func (s *sessions) issue(name string, until time.Time) string {
	claim := name + ":" + strconv.FormatInt(until.Unix(), 16)
	return base64.RawURLEncoding.EncodeToString([]byte(claim + ":" + s.sign(claim)))
}

func (s *sessions) sign(claim string) string {
	mac := hmac.New(sha256.New, s.secret)
	_, _ = mac.Write([]byte(claim)) // never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// errCookie is CouchDB's answer to what was never one of its cookies.
var errCookie = badRequest("Malformed AuthSession cookie. Please clear your cookies.")

// check returns the name in a cookie, and until when it is good. The name is empty
// if the cookie is not ours; errCookie if it is none at all.
func (s *sessions) check(cookie string) (name string, until time.Time, err error) {
	text, err := base64.RawURLEncoding.DecodeString(cookie)
	parts := strings.Split(string(text), ":")
	if err != nil || len(parts) < 3 {
		return "", time.Time{}, errCookie
	}
	last := len(parts) - 1
	seconds, err := strconv.ParseInt(parts[last-1], 16, 64)
	if err != nil {
		return "", time.Time{}, errCookie
	}
	if !hmac.Equal([]byte(parts[last]), []byte(s.sign(strings.Join(parts[:last], ":")))) {
		return "", time.Time{}, nil
	}
	return strings.Join(parts[:last-1], ":"), time.Unix(seconds, 0), nil
}

// login answers POST /_session.
func (c *call) login() error {
	name, password, err := c.credentials()
	if err != nil {
		return err
	}
	u, ok := c.server.account(name, password)
	if !ok {
		c.setCookie("")
		return errWrongPassword
	}
	c.setCookie(c.server.sessions.issue(name, c.sessionEnd()))
	body := appendString([]byte(`{"ok":true,"name":`), name)
	body = appendStrings(append(body, `,"roles":`...), u.roles)
	return c.json(http.StatusOK, append(body, '}'))
}

// sessionEnd is until when a cookie made now is good.
func (c *call) sessionEnd() time.Time { return c.server.opts.Now().Add(c.server.opts.SessionLife) }

// credentials reads a name and password from a form or from JSON.
func (c *call) credentials() (name, password string, err error) {
	body, err := c.body()
	if err != nil {
		return "", "", err
	}
	kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if kind == "application/json" {
		var login struct {
			Name     string `json:"name"`
			Password string `json:"password"`
		}
		err := decode(body, &login)
		return login.Name, login.Password, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", "", badRequest("Invalid form")
	}
	return form.Get("name"), form.Get("password"), nil
}

// setCookie sets the session's cookie; an empty one ends it. CouchDB gives that one
// a life too.
func (c *call) setCookie(value string) {
	http.SetCookie(c.w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", HttpOnly: true, MaxAge: int(c.server.opts.SessionLife.Seconds()),
	})
}

// logout answers DELETE /_session.
func (c *call) logout() error {
	c.setCookie("")
	return c.ok(http.StatusOK)
}

// showSession answers GET /_session.
func (c *call) showSession() error {
	name, by := "null", ""
	if c.user.name != "" {
		name = string(appendString(nil, c.user.name))
		by = fmt.Sprintf(`,"authenticated":%q`, c.user.method)
	}
	return c.json(http.StatusOK, fmt.Appendf(nil,
		`{"ok":true,"userCtx":{"name":%s,"roles":%s},"info":{"authentication_handlers":["cookie","default"]%s}}`,
		name, appendStrings(nil, c.user.roles), by))
}
