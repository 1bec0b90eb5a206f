// Go, github.com/gorilla/websocket: Pings are answered inside ReadMessage, when the application calls it.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"hash/crc32"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

var out sync.Mutex

func say(format string, args ...interface{}) {
	out.Lock()
	defer out.Unlock()
	fmt.Printf(format+"\n", args...)
}

func must(err error) {
	if err != nil {
		say("error %v", err)
		os.Exit(1)
	}
}

// What the reading goroutine has to wait for before it hands a message on.
type gate struct {
	sync.Mutex
	open *sync.Cond
	shut bool
	busy string
}

func (g *gate) set(shut bool) {
	g.Lock()
	g.shut = shut
	g.Unlock()
	g.open.Broadcast()
}

func (g *gate) pass() {
	g.Lock()
	defer g.Unlock()
	for g.shut {
		g.open.Wait()
	}
	if g.busy == "" {
		return
	}
	for {
		if _, err := os.Stat(g.busy); err != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	g.busy = ""
	say("idle")
}

func obey(ws *websocket.Conn, g *gate, word string, rest string) {
	f := strings.Fields(rest)
	switch word {
	case "text":
		n, _ := strconv.Atoi(f[0])
		size, _ := strconv.Atoi(f[1])
		for i := 0; i < n; i++ {
			s := strconv.Itoa(i)
			must(ws.WriteMessage(websocket.TextMessage, []byte(s+strings.Repeat(".", size-len(s)))))
		}
	case "binary":
		size, _ := strconv.Atoi(f[0])
		data := make([]byte, size)
		for k := range data {
			data[k] = byte(k)
		}
		must(ws.WriteMessage(websocket.BinaryMessage, data))
	case "ping":
		must(ws.WriteControl(websocket.PingMessage, []byte(rest), time.Now().Add(10*time.Second)))
	case "close":
		code, _ := strconv.Atoi(f[0])
		reason := strings.TrimPrefix(rest[len(f[0]):], " ")
		must(ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(10*time.Second)))
	case "busy": // begins with the next message
		g.Lock()
		g.busy = rest
		g.Unlock()
		say("busy")
	case "pause":
		g.set(true)
		say("paused")
	case "resume":
		say("resumed")
		g.set(false)
	default:
		say("error no %s here", word)
	}
}

func main() {
	header := http.Header{}
	dialer := websocket.Dialer{}
	for _, arg := range os.Args[2:] {
		switch {
		case strings.HasPrefix(arg, "cookie="):
			header.Set("Cookie", arg[7:])
		case strings.HasPrefix(arg, "ca="):
			pem, err := os.ReadFile(arg[3:])
			must(err)
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(pem)
			dialer.TLSClientConfig = &tls.Config{RootCAs: pool}
		case arg == "deflate":
			dialer.EnableCompression = true
		}
	}
	ws, res, err := dialer.Dial(os.Args[1], header)
	if err == websocket.ErrBadHandshake {
		say("refused %d", res.StatusCode)
		return
	}
	must(err)
	say("open")
	g := &gate{}
	g.open = sync.NewCond(g)
	ws.SetPongHandler(func(data string) error {
		say("pong %s", data)
		return nil
	})
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			word, rest, _ := strings.Cut(in.Text(), " ")
			obey(ws, g, word, rest)
		}
	}()
	for {
		kind, data, err := ws.ReadMessage()
		if e, ok := err.(*websocket.CloseError); ok {
			say("closed %d %s", e.Code, e.Text)
			return
		}
		must(err)
		g.pass()
		name := "text"
		if kind == websocket.BinaryMessage {
			name = "binary"
		}
		say("message %s %d %08x", name, len(data), crc32.ChecksumIEEE(data))
	}
}
