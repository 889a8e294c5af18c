package telemetry

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Variables of OpenTelemetry's "Environment Variable Specification" that the Go
// SDK leaves to the program; it reads the others itself.
const (
	envDisabled       = "OTEL_SDK_DISABLED"
	envTracesExporter = "OTEL_TRACES_EXPORTER"
	envEndpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	envTracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	envProtocol       = "OTEL_EXPORTER_OTLP_PROTOCOL"
	envTracesProtocol = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
)

// exporterChoice is what the environment asks for.
type exporterChoice struct {
	otlp bool
	// warnings name settings that are ignored. The specification wants a
	// warning where it does not want a failure.
	warnings []string
}

func chooseExporter(getenv func(string) string) exporterChoice {
	var c exporterChoice
	if strings.EqualFold(getenv(envDisabled), "true") {
		return c
	}
	switch named := getenv(envTracesExporter); named {
	case "none":
		return c
	case "otlp":
		c.otlp = true
	case "":
		c.otlp = getenv(envEndpoint) != "" || getenv(envTracesEndpoint) != ""
	default:
		c.warnings = append(c.warnings, fmt.Sprintf("%s=%s is ignored: known are otlp and none", envTracesExporter, named))
		c.otlp = getenv(envEndpoint) != "" || getenv(envTracesEndpoint) != ""
	}
	if c.otlp && protocol(getenv) == "grpc" {
		c.warnings = append(c.warnings, fmt.Sprintf("%s=grpc is ignored: traces are sent as http/protobuf", envProtocol))
	}
	return c
}

func protocol(getenv func(string) string) string {
	if p := getenv(envTracesProtocol); p != "" {
		return p
	}
	return getenv(envProtocol)
}

// serviceResource describes this process. Its command line is left out on
// purpose: a URL given there may hold a password (invariant 9).
func serviceResource(ctx context.Context, o Options) *resource.Resource {
	own := []attribute.KeyValue{semconv.ServiceInstanceID(uuid.NewString())}
	if o.Service != "" {
		own = append(own, semconv.ServiceName(o.Service))
	}
	if o.Version != "" {
		own = append(own, semconv.ServiceVersion(o.Version))
	}
	res, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithProcessPID(),
		resource.WithAttributes(own...),
		resource.WithFromEnv(), // last, so that the operator's word counts
	)
	if err != nil {
		// What could be found out is in res all the same.
		o.Logger.WarnContext(ctx, "the description of this process in traces is incomplete", "error", err)
	}
	return res
}
