package millpond

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
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
	// sessionLife is CouchDB's default for session cookies.
	sessionLife = 10 * time.Minute
)

// sessions makes and checks cookies. They carry their own proof, so nothing is
// kept of them.
type sessions struct {
	secret []byte
}

// user is who makes a request: how it was shown, and by what name.
type user struct {
	name   string // empty if nobody logged in
	method string // "cookie" or "default" (Basic)
	roles  []string
}

var adminRoles = []string{"_admin"}

func (s *sessions) issue(name string, now time.Time) string {
	claim := name + ":" + strconv.FormatInt(now.Add(sessionLife).Unix(), 16)
	return base64.RawURLEncoding.EncodeToString([]byte(claim + ":" + s.sign(claim)))
}

func (s *sessions) sign(claim string) string {
	mac := hmac.New(sha256.New, s.secret)
	_, _ = mac.Write([]byte(claim)) // never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// check returns the name in a cookie that is ours and has not expired.
func (s *sessions) check(cookie string, now time.Time) (name string, ok bool) {
	text, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil {
		return "", false
	}
	at := strings.LastIndexByte(string(text), ':')
	if at < 0 || !hmac.Equal(text[at+1:], []byte(s.sign(string(text[:at])))) {
		return "", false
	}
	claim := string(text[:at])
	at = strings.LastIndexByte(claim, ':')
	until, err := strconv.ParseInt(claim[at+1:], 16, 64)
	if err != nil || now.Unix() >= until {
		return "", false
	}
	return claim[:at], true
}

// authenticate finds out who is calling and refuses strangers, except for what
// CouchDB shows to everybody.
func (c *call) authenticate() error {
	opts := &c.server.opts
	if name, password, ok := c.r.BasicAuth(); ok && opts.AdminUser != "" {
		if !c.server.knows(name, password) {
			return errWrongPassword
		}
		c.user = user{name: name, method: "default", roles: adminRoles}
		return nil
	}
	if cookie, err := c.r.Cookie(cookieName); err == nil {
		if name, ok := c.server.sessions.check(cookie.Value, opts.Now()); ok {
			c.user = user{name: name, method: "cookie", roles: adminRoles}
			return nil
		}
	}
	if opts.AdminUser == "" {
		c.user = user{roles: adminRoles}
		return nil
	}
	if c.public() {
		return nil
	}
	return newError(http.StatusUnauthorized, "unauthorized", "You are not authorized to access this db.")
}

func (c *call) public() bool {
	return len(c.parts) == 0 || len(c.parts) == 1 && (c.parts[0] == "_session" || c.parts[0] == "_up")
}

func (s *Server) knows(name, password string) bool {
	sameName := subtle.ConstantTimeCompare([]byte(name), []byte(s.opts.AdminUser))
	samePassword := subtle.ConstantTimeCompare([]byte(password), []byte(s.opts.AdminPassword))
	return sameName&samePassword == 1
}

// login answers POST /_session.
func (c *call) login() error {
	name, password, err := c.credentials()
	if err != nil {
		return err
	}
	if c.server.opts.AdminUser == "" || !c.server.knows(name, password) {
		c.setCookie("", 0)
		return errWrongPassword
	}
	c.setCookie(c.server.sessions.issue(name, c.server.opts.Now()), sessionLife)
	body := appendString([]byte(`{"ok":true,"name":`), name)
	return c.json(http.StatusOK, append(body, `,"roles":["_admin"]}`...))
}

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

func (c *call) setCookie(value string, life time.Duration) {
	http.SetCookie(c.w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", HttpOnly: true, MaxAge: int(life.Seconds()),
	})
}

// logout answers DELETE /_session.
func (c *call) logout() error {
	c.setCookie("", 0)
	return c.ok(http.StatusOK)
}

// showSession answers GET /_session.
func (c *call) showSession() error {
	name, roles, by := "null", "[]", ""
	if c.user.name != "" {
		name = string(appendString(nil, c.user.name))
		by = fmt.Sprintf(`,"authenticated":%q`, c.user.method)
	}
	if c.user.name != "" || c.server.opts.AdminUser == "" {
		roles = `["_admin"]`
	}
	return c.json(http.StatusOK, fmt.Appendf(nil,
		`{"ok":true,"userCtx":{"name":%s,"roles":%s},"info":{"authentication_handlers":["cookie","default"]%s}}`,
		name, roles, by))
}
