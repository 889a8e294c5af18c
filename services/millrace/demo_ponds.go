package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"millrace/pkg/couch"
	"millrace/pkg/millpond"
)

// demoDatabase is the name of the database, at the source and at the target.
const demoDatabase = "orders"

// ponds are the demo's two servers, and a database of each.
type ponds struct {
	servers        []*millpond.Listener
	source, target *couch.DB
}

// openPonds starts both servers, on loopback. The databases are not created.
func openPonds(sourcePort, targetPort uint16) (_ *ponds, err error) {
	p := &ponds{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.source, err = p.open(sourcePort); err != nil {
		return nil, fmt.Errorf("start the source's server: %w", err)
	}
	if p.target, err = p.open(targetPort); err != nil {
		return nil, fmt.Errorf("start the target's server: %w", err)
	}
	return p, nil
}

func (p *ponds) open(port uint16) (*couch.DB, error) {
	server, err := millpond.New(millpond.Options{}).Listen(net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	p.servers = append(p.servers, server)
	return couch.Open(couch.Endpoint{URL: server.URL + "/" + demoDatabase}, couch.Options{})
}

func (p *ponds) close() error {
	for _, db := range []*couch.DB{p.source, p.target} {
		if db != nil {
			db.Close()
		}
	}
	var errs []error
	for _, s := range p.servers {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
