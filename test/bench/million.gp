# Draws what scripts/bench-million saw, from build/million.json: memory over connections, by process
# and kernel, and how the connections came about.
#
#	[BUILD=build] gnuplot test/bench/million.gp >build/million.svg

build = system("echo ${BUILD:-build}")
# connections, seconds, and GiB: workers, bridge, nats-server, kernel, one on top of the other
rows = "<python3 -c 'import json,sys; \
rows=json.load(open(sys.argv[1]))[\"rows\"]; \
names=[k+\"_bytes\" for k in (\"workers\",\"bridge\",\"nats-server\",\"kernel\")]; \
[print(r[\"connections\"], r[\"seconds\"], *[sum(r[k] for k in names[:i+1])*r[\"connections\"]/2**30 for i in range(4)]) \
for r in rows if r[\"connections\"]]' " . build . "/million.json"

set terminal svg size 800,480 font "sans,13" background "white"
set title "Idle connections on one machine (kernel: both ends of each)"
set xlabel "connections, thousands"
set ylabel "memory, GiB"
set y2label "seconds"
set y2tics
set ytics nomirror
set yrange [0:]
set y2range [0:]
set key top left reverse Left
set style fill solid 0.6 noborder
plot rows using ($1/1000):6 with filledcurves x1 lc rgb "#b0b0b0" title "kernel", \
     rows using ($1/1000):5 with filledcurves x1 lc rgb "#d9913a" title "nats-server", \
     rows using ($1/1000):4 with filledcurves x1 lc rgb "#7a5ea8" title "bridge", \
     rows using ($1/1000):3 with filledcurves x1 lc rgb "#3a7ad9" title "workers", \
     rows using ($1/1000):2 axes x1y2 with lines lw 2 lc rgb "black" title "opened after (right)"
