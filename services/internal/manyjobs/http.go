package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// call makes a request, with the user of the address.
func call(ctx context.Context, method, address, body string, answer any) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return err
	}
	if password, ok := u.User.Password(); ok {
		req.SetBasicAuth(u.User.Username(), password)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read only
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s", method, u.Redacted(), resp.Status)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// make1 makes an empty database.
func make1(ctx context.Context, address, name string) error {
	remove(address, name)
	return call(ctx, http.MethodPut, address+"/"+name, "", nil)
}

// remove deletes a database, if it is there.
func remove(address, name string) {
	_ = call(context.Background(), http.MethodDelete, address+"/"+name, "", nil)
}
