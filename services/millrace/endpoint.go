package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"millrace/pkg/couch"
)

// endpointFlags are the flags of one database: how to log in to it, and how it is reached.
type endpointFlags struct {
	role                             string // the flags' prefix, and in capitals the variables'
	proxy, ca, cert, key, serverName string
	passwordFile, tokenFile, iamKey  string
	iamURL                           string
	headers                          []string
	insecure                         bool
	flags                            *pflag.FlagSet
}

// group is the database's flags, for a command's help.
func (e *endpointFlags) group(role, title string) flagGroup {
	e.role = role
	e.flags = pflag.NewFlagSet(role, pflag.ContinueOnError)
	text := func(p *string, name, usage string) { e.flags.StringVar(p, role+"-"+name, "", usage) }
	text(&e.passwordFile, "password-file", "`file` with the password; read again when it is refused")
	text(&e.tokenFile, "token-file", "`file` with a bearer token, such as a JWT ("+e.variable("TOKEN")+" has the token itself)")
	text(&e.iamKey, "iam-key-file", "`file` with an API key of IBM Cloud ("+e.variable("IAM_API_KEY")+" has the key itself)")
	text(&e.iamURL, "iam-url", "`URL` where API keys are exchanged for tokens (default "+couch.DefaultIAMURL+")")
	e.flags.StringArrayVar(&e.headers, role+"-header", nil, "`header` to send with each request, 'name: value'; may be repeated")
	text(&e.proxy, "proxy", "`URL` of an http, https or socks5 proxy ("+e.variable("PROXY")+")")
	text(&e.ca, "ca", "`file` of the authorities that certify the server, in place of the system's")
	text(&e.cert, "cert", "`file` of the client certificate")
	text(&e.key, "key", "`file` of the client certificate's key")
	text(&e.serverName, "server-name", "`name` in the server's certificate, where it is not the URL's host")
	e.flags.BoolVar(&e.insecure, role+"-insecure", false, "take any certificate: whoever sits between can read and change everything")
	return flagGroup{title, e.flags}
}

func (e *endpointFlags) variable(name string) string {
	return "$MILLRACE_" + strings.ToUpper(e.role) + "_" + name
}

func (e *endpointFlags) getenv(name string) string {
	return os.Getenv(strings.TrimPrefix(e.variable(name), "$"))
}

// object is the endpoint as a replication document has it: of the URL arg, or, where that is
// empty, of the document's own. What a file has is referred to where the services that use it are in this
// process, so that it is read again when it changes; else, with inline, it is read now.
func (e *endpointFlags) object(document any, arg, netrc string, inline bool) (map[string]any, error) {
	var o map[string]any
	var err error
	if arg != "" {
		if o, err = e.fromURL(arg, netrc); err != nil {
			return nil, err
		}
	} else if o, err = opened(document); err != nil {
		return nil, err
	}
	for _, add := range []func(map[string]any, bool) error{e.login, e.connection} {
		if err := add(o, inline); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// opened is a document's endpoint as an object.
func opened(document any) (map[string]any, error) {
	o := map[string]any{}
	encoded, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	switch bytes.TrimSpace(encoded)[0] {
	case '{':
		var members map[string]json.RawMessage
		if err := json.Unmarshal(encoded, &members); err != nil {
			return nil, err
		}
		for name, value := range members {
			o[name] = value
		}
	default:
		o["url"] = json.RawMessage(encoded)
	}
	return o, nil
}

// fromURL finds the log-in where neither a flag nor the URL has it: in the environment, and for a
// user and a password in a netrc file.
func (e *endpointFlags) fromURL(arg, netrc string) (map[string]any, error) {
	role := strings.ToUpper(e.role)
	if e.loginFlags() > 0 {
		ep, err := couch.ParseEndpoint(arg)
		if err == nil && ep.Password != "" {
			err = fmt.Errorf("the URL has a password, and a flag another log-in")
		}
		if ep.Username == "" {
			ep.Username = os.Getenv("MILLRACE_" + role + "_USER")
		}
		return endpointObject(ep), err
	}
	ep, err := couch.ParseEndpoint(arg)
	if err != nil {
		return nil, err
	}
	token, key := e.getenv("TOKEN"), e.getenv("IAM_API_KEY")
	switch {
	case ep.Username != "" || token == "" && key == "":
		if ep, err = resolveEndpoint(role, arg, netrc); err != nil {
			return nil, err
		}
		return endpointObject(ep), nil
	case token != "" && key != "":
		return nil, fmt.Errorf("%s and %s are both set", e.variable("TOKEN"), e.variable("IAM_API_KEY"))
	case token != "":
		return map[string]any{"url": ep.URL, "auth": map[string]any{"bearer": map[string]any{"token": token}}}, nil
	}
	return map[string]any{"url": ep.URL, "auth": map[string]any{"iam": e.exchange(map[string]any{"api_key": key})}}, nil
}

func (e *endpointFlags) loginFlags() (n int) {
	for _, f := range []string{e.passwordFile, e.tokenFile, e.iamKey} {
		if f != "" {
			n++
		}
	}
	return n
}

// login puts the flags' log-in into the endpoint.
func (e *endpointFlags) login(o map[string]any, inline bool) (err error) {
	if e.loginFlags() > 1 {
		return errors.New("more than one file to log in with")
	}
	in := map[string]any{}
	switch {
	case e.tokenFile != "":
		o["auth"] = map[string]any{"bearer": in}
		err = fromFile(in, "token", e.tokenFile, inline)
	case e.iamKey != "":
		o["auth"] = map[string]any{"iam": e.exchange(in)}
		err = fromFile(in, "api_key", e.iamKey, inline)
	case e.passwordFile != "":
		user := userOf(o)
		if user == nil {
			return fmt.Errorf("--%s-password-file needs a user: in the URL, or in %s", e.role, e.variable("USER"))
		}
		in["username"] = user
		o["auth"] = map[string]any{"basic": in}
		err = fromFile(in, "password", e.passwordFile, inline)
	}
	return err
}

// userOf is the user of an endpoint's object.
func userOf(o map[string]any) any {
	encoded, err := json.Marshal(o)
	var e struct {
		Auth struct {
			Basic struct {
				Username *string `json:"username"`
			} `json:"basic"`
		} `json:"auth"`
	}
	if err != nil || json.Unmarshal(encoded, &e) != nil || e.Auth.Basic.Username == nil {
		return nil
	}
	return *e.Auth.Basic.Username
}

func (e *endpointFlags) exchange(iam map[string]any) map[string]any {
	if e.iamURL != "" {
		iam["token_url"] = e.iamURL
	}
	return iam
}

// connection puts what the flags say of the way to the server into the endpoint.
func (e *endpointFlags) connection(o map[string]any, inline bool) error {
	if proxy := e.proxyURL(); proxy != "" {
		o["proxy"] = proxy
	}
	if len(e.headers) > 0 {
		headers := map[string]string{}
		for _, h := range e.headers {
			name, value, ok := strings.Cut(h, ":")
			if !ok {
				return fmt.Errorf("--%s-header: expected 'name: value'", e.role)
			}
			headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
		o["headers"] = headers
	}
	tls := map[string]any{}
	for member, file := range map[string]string{"ca": e.ca, "cert": e.cert, "key": e.key} {
		if err := fromFile(tls, member, file, inline); err != nil {
			return err
		}
	}
	if e.serverName != "" {
		tls["server_name"] = e.serverName
	}
	if e.insecure {
		tls["insecure_skip_verify"] = true
	}
	if len(tls) > 0 {
		o["tls"] = tls
	}
	return nil
}

func (e *endpointFlags) proxyURL() string {
	if e.proxy != "" {
		return e.proxy
	}
	return e.getenv("PROXY")
}

// fromFile sets the member to the file's content, or refers to the file.
func fromFile(o map[string]any, member, file string, inline bool) error {
	if file == "" {
		return nil
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path) // also where it is only referred to: what is wrong is said at once
	if err != nil {
		return err
	}
	if !inline {
		o[member+"_file"] = path
		return nil
	}
	o[member] = strings.TrimRight(string(text), "\r\n")
	return nil
}
