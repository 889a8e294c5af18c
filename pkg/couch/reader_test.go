package couch

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who reads is whom the server takes the credential for; a database says it in `_session`.
func TestReaderIsWhoTheCredentialIsOf(t *testing.T) {
	onServers(t, func(t *testing.T, open func(name string) *DB) {
		db := open("reader")
		reader, err := db.Reader(t.Context())
		require.NoError(t, err)
		var user struct {
			DB    string   `json:"db"`
			Name  any      `json:"name"`
			Roles []string `json:"roles"`
		}
		require.NoError(t, json.Unmarshal(reader.UserCtx, &user))
		require.Equal(t, db.Name(), user.DB)
		if db.server.secret.Username != "" {
			require.Equal(t, db.server.secret.Username, user.Name)
		}
		require.NotNil(t, user.Roles)
		require.True(t, json.Valid(reader.SecObj))
	})
}

func TestReaderOfAServerThatSaysLittle(t *testing.T) {
	for name, c := range map[string]struct {
		session, security     string
		status                int
		userCtx, secObj, fail string
	}{
		"all":             {`{"userCtx":{"name":"ann","roles":["r"]}}`, `{"admins":{"names":["x"]}}`, 200, `{"db":"db","name":"ann","roles":["r"]}`, `{"admins":{"names":["x"]}}`, ""},
		"nobody":          {`{"userCtx":{"name":null}}`, `{}`, 200, `{"db":"db","name":null,"roles":[]}`, `{}`, ""},
		"no such paths":   {`{"error":"not_found"}`, `{"error":"not_found"}`, 404, `{"db":"db","name":null,"roles":[]}`, `{}`, ""},
		"not allowed":     {`{}`, `{}`, 403, `{"db":"db","name":null,"roles":[]}`, `{}`, ""},
		"no security":     {`{"userCtx":{}}`, `null`, 200, "", "", "neither an object nor a list"},
		"not understood":  {`[]`, `{}`, 200, "", "", "array"},
		"it is not there": {`{}`, `{}`, 500, "", "", "500"},
	} {
		t.Run(name, func(t *testing.T) {
			db := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(c.status)
				text := map[string]string{"/_session": c.session, "/db/_security": c.security}[r.URL.Path]
				_, _ = w.Write([]byte(text)) // a client that is gone shows in the test
			})
			reader, err := db.Reader(t.Context())
			if c.fail != "" {
				require.ErrorContains(t, err, c.fail)
				return
			}
			require.NoError(t, err)
			require.JSONEq(t, c.userCtx, string(reader.UserCtx))
			require.JSONEq(t, c.secObj, string(reader.SecObj))
		})
	}
}
