package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/spf13/cobra"
)

// client talks to a running service as any customer would: GraphQL over HTTP
// and over graphql-transport-ws.
type client struct {
	url string // of the service, such as http://127.0.0.1:8080
	key string
}

// clientFlags adds --url and --key, which default to serviceURL and ENRICHD_API_KEY.
func clientFlags(c *cobra.Command) func() (*client, error) {
	url := c.Flags().String("url", serviceURL(os.Getenv), "the service's address (ENRICHD_URL, or where ENRICHD_ADDR has it listen on this machine)")
	key := c.Flags().String("key", "", "an API key (ENRICHD_API_KEY)")
	return func() (*client, error) {
		out := &client{url: strings.TrimSuffix(*url, "/"), key: *key}
		if out.key == "" {
			out.key = os.Getenv("ENRICHD_API_KEY")
		}
		if out.key == "" {
			return nil, usageError{errors.New("an API key is needed: --key, or ENRICHD_API_KEY; `enrichd keys create` makes one")}
		}
		return out, nil
	}
}

// serviceURL is where a client looks for the service: ENRICHD_URL, or else what
// the server of the same settings listens on, reached from this machine.
func serviceURL(getenv func(string) string) string {
	if url := getenv("ENRICHD_URL"); url != "" {
		return url
	}
	host, port, err := net.SplitHostPort(getenv("ENRICHD_ADDR"))
	if err != nil {
		host, port = "", "8080"
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

type graphError struct {
	Message    string `json:"message"`
	Extensions struct {
		Code string `json:"code"`
	} `json:"extensions"`
}

// userError is one refusal in a mutation's payload.
type userError struct {
	Code    string   `json:"code"`
	Message string   `json:"message"`
	Field   []string `json:"field"`
}

func refusal(errs []userError) error {
	lines := make([]string, len(errs))
	for i, e := range errs {
		lines[i] = e.Message
		if len(e.Field) > 0 {
			lines[i] = strings.Join(e.Field, ".") + ": " + e.Message
		}
	}
	return errors.New(strings.Join(lines, "; "))
}

// do runs one query or mutation and decodes its data into out.
func (c *client) do(ctx context.Context, query string, variables map[string]any, out any) error {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/graphql", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no service answers at %s: %w", c.url, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	var envelope struct {
		Data   json.RawMessage `json:"data"`
		Errors []graphError    `json:"errors"`
	}
	if err := json.Unmarshal(answer, &envelope); err != nil {
		return fmt.Errorf("%s answered %s and no GraphQL", c.url, res.Status)
	}
	if len(envelope.Errors) > 0 {
		return fmt.Errorf("%s (%s)", envelope.Errors[0].Message, envelope.Errors[0].Extensions.Code)
	}
	return json.Unmarshal(envelope.Data, out)
}

// follow subscribes to a run and calls each with every event, in order and
// once, until the run ends. A lost connection is opened again where it broke off.
func (c *client) follow(ctx context.Context, runID string, after *int, each func(event) error) error {
	failures := 0
	for {
		ended, err := c.followOnce(ctx, runID, &after, func(e event) error {
			failures = 0
			return each(e)
		})
		var final finalError
		switch {
		case ended:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &final):
			return final.error
		}
		if failures++; failures > 60 {
			return fmt.Errorf("follow %s: %w", runID, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(time.Duration(failures)*100*time.Millisecond, time.Second)):
		}
	}
}

// finalError is one that trying again cannot mend.
type finalError struct{ error }

type frame struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

const followQuery = `subscription($run: ID!, $after: Int) {
  enrichmentProgress(requestId: $run, afterSequence: $after) {
    __typename sequence occurredAt
    progress { total queued active enriched partial noMatch notFound suppressed timedOut failed cancelled }
    ... on RunSnapshot { run { status label credits { reserved captured released held } profiles(first: 10) { nodes { profileId outcome stage } } } }
    ... on RunStatusChanged { status }
    ... on StageChanged { stageProgress { stage status completed failed } }
    ... on ProfileAdvanced { profileId stage outcome fieldsChanged waitingOn }
    ... on SourceChanged { profileId source state loss records }
    ... on CreditsMoved { credits { reserved captured released held } }
  }
}`

func (c *client) followOnce(ctx context.Context, runID string, after **int, each func(event) error) (ended bool, err error) {
	dialer := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}, HandshakeTimeout: 10 * time.Second}
	conn, _, err := dialer.DialContext(ctx, "ws"+strings.TrimPrefix(c.url, "http")+"/graphql", nil)
	if err != nil {
		return false, fmt.Errorf("open a socket to %s: %w", c.url, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	payload, err := json.Marshal(map[string]any{"query": followQuery, "variables": map[string]any{"run": runID, "after": *after}})
	if err != nil {
		return false, err
	}
	hello, err := json.Marshal(map[string]string{"Authorization": "Bearer " + c.key})
	if err != nil {
		return false, err
	}
	if err := conn.WriteJSON(frame{Type: "connection_init", Payload: hello}); err != nil {
		return false, err
	}
	for {
		var f frame
		if err := conn.ReadJSON(&f); err != nil {
			if websocket.IsCloseError(err, 4403, 4401, 4400) {
				return false, finalError{fmt.Errorf("the service closed the socket: %w", err)}
			}
			return false, err
		}
		switch f.Type {
		case "connection_ack":
			err = conn.WriteJSON(frame{ID: "run", Type: "subscribe", Payload: payload})
		case "ping":
			err = conn.WriteJSON(frame{Type: "pong"})
		case "next":
			var next struct {
				Data   struct{ EnrichmentProgress event }
				Errors []graphError
			}
			if err = json.Unmarshal(f.Payload, &next); err != nil {
				return false, finalError{err}
			}
			if len(next.Errors) > 0 {
				return false, finalError{errors.New(next.Errors[0].Message)}
			}
			e := next.Data.EnrichmentProgress
			if err = each(e); err != nil {
				return false, finalError{err}
			}
			*after = &e.Sequence
		case "error":
			var errs []graphError
			if err := json.Unmarshal(f.Payload, &errs); err != nil || len(errs) == 0 {
				return false, finalError{errors.New("the service refused the subscription")}
			}
			return false, finalError{errors.New(errs[0].Message)}
		case "complete":
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}
