package peer

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"millrace/pkg/millpond"
)

// The account of the millpond in a fleet: its tests should have to log in, as with
// a real server.
const millpondUser, millpondPassword = "adm", "pass"

// startMillpond serves a millpond on a loopback port.
func startMillpond() (*Server, func() error, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("listen: %w", err)
	}
	pond := millpond.New(millpond.Options{AdminUser: millpondUser, AdminPassword: millpondPassword})
	server := &http.Server{Handler: pond}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	stop := func() error {
		pond.Close()
		err := server.Close()
		if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
		return err
	}
	address := url.URL{
		Scheme: "http", Host: listener.Addr().String(),
		User: url.UserPassword(millpondUser, millpondPassword),
	}
	return &Server{
		Name: string(Millpond), URL: address.String(), Kind: Millpond,
		Capabilities: capabilitiesOf(Millpond),
	}, stop, nil
}
