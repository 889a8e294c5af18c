package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Keys of the attributes that Millrace adds to those of OpenTelemetry's
// semantic conventions. Dashboards and alerts refer to them: they do not change.
const (
	KeyJob     = attribute.Key("millrace.job")
	KeyRun     = attribute.Key("millrace.run")
	KeyFeed    = attribute.Key("millrace.feed")
	KeyEpoch   = attribute.Key("millrace.epoch")
	KeyOrdinal = attribute.Key("millrace.ordinal")
	KeyRows    = attribute.Key("millrace.rows")
	KeyDocs    = attribute.Key("millrace.docs")
	KeyBytes   = attribute.Key("millrace.bytes")
	KeyRetries = attribute.Key("millrace.retries")
	KeyAttempt = attribute.Key("millrace.attempt")
	KeyPart    = attribute.Key("millrace.part")
)

// Job is the id of the job that a span worked for.
func Job(id string) attribute.KeyValue { return KeyJob.String(id) }

// Run is the number of the job's run.
func Run(n uint64) attribute.KeyValue { return number(KeyRun, n) }

// Feed is the id of the feed that the rows came from.
func Feed(id string) attribute.KeyValue { return KeyFeed.String(id) }

// Epoch is the ownership of the feed under which the batch was read.
func Epoch(n uint64) attribute.KeyValue { return number(KeyEpoch, n) }

// Ordinal is the number of the batch within its feed.
func Ordinal(n uint64) attribute.KeyValue { return number(KeyOrdinal, n) }

// Rows counts rows of a feed.
func Rows(n int) attribute.KeyValue { return KeyRows.Int(n) }

// Docs counts document revisions.
func Docs(n int) attribute.KeyValue { return KeyDocs.Int(n) }

// Bytes counts bytes of rows or document bodies, uncompressed.
func Bytes(n int64) attribute.KeyValue { return KeyBytes.Int64(n) }

// Retries counts how often something was tried again: 0 when it succeeded at
// once.
func Retries(n int) attribute.KeyValue { return KeyRetries.Int(n) }

// Attempt identifies one fetching of a batch: parts of two attempts never mix.
func Attempt(id string) attribute.KeyValue { return KeyAttempt.String(id) }

// Part is the number of a part within its attempt, from 1.
func Part(n uint32) attribute.KeyValue { return KeyPart.Int64(int64(n)) }

// Destination is the broker subject that a message was sent to or came from.
func Destination(subject string) attribute.KeyValue {
	return semconv.MessagingDestinationName(subject)
}

// number shows n as OpenTelemetry's only integer, which is signed.
func number(key attribute.Key, n uint64) attribute.KeyValue { return key.Int64(int64(n)) }

// RecordError marks the span as failed because of err and keeps the error as an
// event of it. A nil error does nothing.
func RecordError(span trace.Span, err error) {
	if err == nil || !span.IsRecording() {
		return
	}
	span.RecordError(err)
	span.SetStatus(codes.Error, err.Error())
}
