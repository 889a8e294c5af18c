package telemetry

import "testing"

func TestEnvironmentChoosesTheExporter(t *testing.T) {
	const endpoint = "http://127.0.0.1:4318"
	cases := map[string]struct {
		env      map[string]string
		otlp     bool
		warnings int
	}{
		"nothing set":           {env: nil},
		"endpoint":              {env: map[string]string{envEndpoint: endpoint}, otlp: true},
		"endpoint for traces":   {env: map[string]string{envTracesEndpoint: endpoint}, otlp: true},
		"exporter by name":      {env: map[string]string{envTracesExporter: "otlp"}, otlp: true},
		"none beats endpoint":   {env: map[string]string{envTracesExporter: "none", envEndpoint: endpoint}},
		"disabled beats all":    {env: map[string]string{envDisabled: "TRUE", envTracesExporter: "otlp", envEndpoint: endpoint}},
		"disabled must be true": {env: map[string]string{envDisabled: "1", envEndpoint: endpoint}, otlp: true},
		"unknown exporter":      {env: map[string]string{envTracesExporter: "zipkin"}, warnings: 1},
		"unknown and endpoint":  {env: map[string]string{envTracesExporter: "zipkin", envEndpoint: endpoint}, otlp: true, warnings: 1},
		"gRPC":                  {env: map[string]string{envProtocol: "grpc", envEndpoint: endpoint}, otlp: true, warnings: 1},
		"gRPC, not for traces":  {env: map[string]string{envProtocol: "grpc", envTracesProtocol: "http/json", envEndpoint: endpoint}, otlp: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := chooseExporter(func(key string) string { return c.env[key] })
			if got.otlp != c.otlp || len(got.warnings) != c.warnings {
				t.Errorf("otlp %v and warnings %q, want %v and %d", got.otlp, got.warnings, c.otlp, c.warnings)
			}
		})
	}
}
