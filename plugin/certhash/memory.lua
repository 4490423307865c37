-- Stores the plugin's state of a capture: handshakes, alerts and phone configurations; and judges handshakes.
--
-- Frames arrive once in order, and again whenever one is displayed.  Facts that depend on the order (the client, the
-- content of a transfer) are found the first time and stored here by frame number.  pinfo.visited and the frame number
-- identify the first time: pinfo.visited alone is set in the second pass of "tshark -2", whose first pass has no fields,
-- and a frame that a read filter drops has the number of the next one.

local M = {}

local others = ... or {}  -- the modules by name (plain.lua)
local address, cnf, handshakes, http = others.address, others.cnf, others.handshakes, others.http
local names, stated, story, tftp = others.names, others.stated, others.story, others.tftp
local verdict, visible = others.verdict, others.visible

-- Status of HTTP (RFC 9110, section 15): a file, one that a proxy has changed, and a part of one; the phone has this file.
local BRINGS_A_FILE, NOT_MODIFIED = { [200] = true, [203] = true, [206] = true }, 304

local KEPT_FILES_BYTES = 64 * 1024 * 1024

-- Maximum number of devices shown under a certificate: hundreds of phones may have the same hash.
local MOST_DEVICES = 20

--- Create the memory of a capture.
-- @param needs frame, the readers of a frame; batch, whether nothing is shown; files(), which returns the configurations
--   that count from the first frame on
-- @return the functions at the end
function M.using(needs)
    local frame = needs.frame
    local read, TLS, DTLS, endpoints, has = frame.read, frame.tls, frame.dtls, frame.endpoints, frame.has

    local function address_text(endpoint)
        return address.text((handshakes.split(endpoint)))
    end

    local function endpoint_text(endpoint)
        local bytes, port = handshakes.split(endpoint)
        return story.endpoint(address.text(bytes), port)
    end

    local capture

    local function forget()
        capture = {
            reached = 0,  -- the last frame that was observed
            trackers = { [false] = handshakes.new(), [true] = handshakes.new() },  -- by whether it is UDP
            transfers = tftp.new(names.device),
            exchanges = http.new(),
            events = {},      -- frame -> what it says of a download other than that it is complete
            book = verdict.new(),
            book_has_folder = false,
            sent = {},        -- frame -> its certificates, and their handshake
            alerts = {},      -- frame -> the alert in it that rejects certificates
            handshakes = {},  -- those whose server sent certificates, in order
            files = {},       -- frame -> the configuration file that it completes
            files_bytes = 0,
            servers = {},     -- address, port and name -> the last chain of a server, or false if it showed none
            nowhere = {},     -- file -> whether no known server presents the certificate that it states
        }
    end
    forget()

    -- Record a server, with its chain or without.
    local function note_server(handshake, chain)
        local server = handshake.server .. (handshake.server_name or "")
        if capture.servers[server] == nil or chain then
            capture.servers[server] = chain or false
            capture.nowhere = {}
        end
    end

    local function nowhere(file)
        if capture.nowhere[file] == nil then
            capture.nowhere[file] = stated.nowhere(file, capture.servers)
        end
        return capture.nowhere[file]
    end

    local function book()
        if not capture.book_has_folder then
            capture.book_has_folder = true
            for _, file in ipairs(needs.files()) do
                capture.book:add(file)
            end
        end
        return capture.book
    end

    local function learn(pinfo, name, content, source, target)
        local number = pinfo.number
        local file = {
            name = visible.text(names.base_name(name), 200),
            server = address_text(source),
            client = address_text(target),
        }
        if needs.batch then
            file.content = content
            capture.files[number] = file
            return
        end
        if capture.files_bytes + #content <= KEPT_FILES_BYTES then
            capture.files_bytes = capture.files_bytes + #content
            file.content = content
        end
        file.read, file.problem = cnf.read(name, content)
        if file.read then
            file.read.frame, file.read.client = number, (handshakes.split(target))
            capture.book:add(file.read)
            local problems = cnf.problems(file.read)
            file.problem = #problems > 0 and table.concat(problems, "; ") or nil
        end
        capture.files[number] = file
    end

    -- Record what a frame says of a download: { what =, protocol =, names =, request =, code =, message = }; a pipelined
    -- one has several names.  In the window, only what went wrong matters.
    local function note_event(pinfo, event, source, target)
        if needs.batch or event.what == "error" or event.what == "pipelined" then
            local named = {}
            for i, name in ipairs(event.names) do
                named[i] = names.base_name(name)
            end
            event.name = visible.text(table.concat(named, ", "), 200)
            event.message = event.message and visible.text(event.message, 200)
            event.source, event.target = address_text(source), address_text(target)
            capture.events[pinfo.number] = event
        end
    end

    local function observe_tftp(info, pinfo)
        local payload = not frame.quoted() and frame.tftp_payload(info)
        if not payload then
            return
        end
        local request = read.tftp_request()
        local source, target = endpoints(pinfo)
        if not request then
            local name = capture.transfers:request(pinfo.number, payload, source)
            if name then
                note_event(pinfo, { what = "asks", protocol = "TFTP", names = { name } }, source, target)
            end
            return
        end
        local done, event = capture.transfers:packet(request.value, payload, source, target)
        if done then
            learn(pinfo, done.name, done.content, source, target)
        elseif event then
            event.protocol = "TFTP"
            note_event(pinfo, event, source, target)
        end
    end

    -- Return the number of final responses that end in a frame, and the status of the last one.  An interim response, such
    -- as 100, does not matter.
    local function final_responses()
        local count, status = 0, nil
        for _, code in ipairs({ read.http_code() }) do
            if code.value >= 200 then
                count, status = count + 1, code.value
            end
        end
        return count, status
    end

    -- Record the HTTP requests and responses in a frame; return the status of a response that certainly answers the request
    -- that Wireshark names, and the frame of that request, if it is a GET in the capture.  If a request is missing there,
    -- Wireshark up to 4.2 names the one before.
    local function observe_exchange(pinfo)
        local asks, count, status = read.http_method() ~= nil, final_responses()
        if not asks and count == 0 then
            return nil
        end
        local stream = frame.last(read.tcp_stream())
        stream = stream and stream.value or -1
        if asks then
            local uris = {}
            for i, uri in ipairs({ read.http_uri() }) do
                uris[i] = uri.value
            end
            local gets = read.http_method().value == "GET"
            capture.exchanges:request(stream, uris, gets and pinfo.number or nil)
            if gets and #uris == 1 and names.device(uris[1]) then
                note_event(pinfo, { what = "asks", protocol = "HTTP", names = uris }, endpoints(pinfo))
            end
        end
        if count == 0 then
            return nil
        end
        local doubtful, request = capture.exchanges:response(stream, count)
        if not doubtful then
            return status, request
        end
        local named = read.http_response_for() or not asks and read.http_uri()
        doubtful[#doubtful + 1] = named and named.value or nil
        local found, known = {}, {}
        for _, uri in ipairs(doubtful) do
            local name = names.base_name(uri)
            if names.device(uri) and not known[name] then
                found[#found + 1], known[name] = name, true
            end
        end
        if #found > 0 then
            note_event(pinfo, { what = "pipelined", protocol = "HTTP", names = found }, endpoints(pinfo))
        end
        return nil
    end

    -- Return the body of a response, or nil if it is not whole.  The range of the field covers the decoded body (chunks
    -- joined, decompressed); its value is text in some versions, and ends at a NUL.
    local function whole_body(info, tvb)
        if not info or not info.range or info.range:len() > tftp.MAX_FILE or tvb:len() < tvb:reported_len() then
            return nil
        end
        local content = info.range:bytes():raw()
        local length = read.http_length()
        if length and not read.http_encoding() and tostring(length.value) ~= tostring(#content) then
            return nil
        end
        -- If a HEAD and a GET were pipelined, Wireshark treats the second response as the body of the first.
        return not content:find("^HTTP/1%.%d %d%d%d") and content or nil
    end

    local function observe_http(info, tvb, pinfo)
        local status, request = observe_exchange(pinfo)
        local uri = read.http_response_for() or read.http_uri()
        if not request or not uri or not names.device(uri.value) then
            return
        end
        local content = (status == 200 or status == 203) and whole_body(info, tvb)
        if content then
            learn(pinfo, uri.value, content, endpoints(pinfo))
        else
            local what = BRINGS_A_FILE[status] and "begins" or status == NOT_MODIFIED and "other" or "error"
            local event = { what = what, protocol = "HTTP", names = { uri.value } }
            event.request, event.code, event.message = request, status, ""
            note_event(pinfo, event, endpoints(pinfo))
        end
    end

    -- Record a name and its addresses from a DNS answer.  For a chain of aliases, it is the name in the question.  Other
    -- records in the answer (mostly name servers) have their own addresses: an address belongs to the last record name
    -- before it.
    local function observe_dns(pinfo)
        local name = read.dns_name()
        if not name or frame.quoted() then
            return
        end
        local asked = { [name.value:lower()] = true }
        for _, alias in ipairs({ read.dns_alias() }) do
            asked[alias.value:lower()] = true
        end
        local owners = { read.dns_owner() }
        for _, answers in ipairs({ { read.dns_a() }, { read.dns_aaaa() } }) do
            local at = 0
            for _, answer in ipairs(answers) do
                while owners[at + 1] and owners[at + 1].offset < answer.offset do
                    at = at + 1
                end
                if owners[at] and asked[owners[at].value:lower()] then
                    capture.book:answer(name.value, answer.range:bytes():raw(), pinfo.number)
                end
            end
        end
    end

    local function same(chain, other)
        for i = 1, math.max(#chain, #other) do
            if chain[i] ~= other[i] then
                return false
            end
        end
        return true
    end

    local function observe_handshake(pinfo, types, found)
        -- Only the server name of a ClientHello matters here: a URL that becomes known later may have that name.  The rest
        -- of a handshake is not needed.
        local hello = has(types, frame.CLIENT_HELLO)
        if not (hello or #found > 0 or has(types, frame.SERVER_HELLO)) then
            return
        end
        local source, target = endpoints(pinfo)
        local name = hello and (TLS.server_name() or DTLS.server_name())
        name = name and name.value:lower():gsub("%.$", "") or nil
        local random = TLS.random() or DTLS.random()
        random = random and random.range:raw() or nil
        local over_udp = pinfo.port_type == frame.UDP
        local handshake, role = capture.trackers[over_udp]:observe(source, target, types, name, random)
        if name and role == "client" then
            capture.book:answer(name, (handshakes.split(target)), pinfo.number)
        end
        if handshake.server then
            note_server(handshake)
        end
        if #found > 0 then
            local chain = {}
            for _, message in ipairs(found) do
                for _, certificate in ipairs(message) do
                    chain[#chain + 1] = certificate.known
                end
            end
            local whose = role == "client" and "client_sent" or "server_sent"
            local sent = handshake[whose]
            -- A DTLS retransmission after packet loss counts once.
            if not (sent and over_udp and same(sent.chain, chain)) then
                sent = {
                    frame = pinfo.number,
                    time = pinfo.abs_ts,  -- the relative time restarts at every packet that is marked as a time reference
                    chain = chain,
                    over_udp = over_udp,
                    handshake = handshake,
                    role = role,
                }
            end
            if role ~= "client" then
                if not handshake.server_sent then
                    capture.handshakes[#capture.handshakes + 1] = handshake
                end
                handshake.server = handshake.server or source
                handshake.client = handshake.client or target
                note_server(handshake, sent.chain)
            end
            handshake[whose] = sent
            capture.sent[pinfo.number] = sent
        end
    end

    -- Record an alert, which answers the other side's certificates; the first one counts.
    local function observe_alert(pinfo)
        local code = frame.refused(TLS) or frame.refused(DTLS)
        local handshake, role = capture.trackers[pinfo.port_type == frame.UDP]:find(endpoints(pinfo))
        if not code or not handshake then
            return
        end
        local sent
        if role == "server" then
            sent = handshake.client_sent
        else
            sent = handshake.server_sent
        end
        if not sent then
            return
        end
        local alert = { frame = pinfo.number, code = code, after = pinfo.abs_ts - sent.time, sent = sent }
        sent.refusal = sent.refusal or alert
        capture.alerts[pinfo.number] = alert
    end

    -- Return the verdict on the certificates that a server sent; nil for a client's.
    local function judge(sent, most)
        if sent.role == "client" then
            return nil
        end
        local handshake = sent.handshake
        local server, port = handshakes.split(handshake.server)
        return book():judge({
            frame = sent.frame,
            server = { address = server, port = port },
            client = { address = (handshakes.split(handshake.client)) },
            transport = sent.over_udp and "udp" or "tcp",
            server_name = handshake.server_name,
            chain = sent.chain,
            rejected = sent.refusal,
            most = most or MOST_DEVICES,
            nowhere = nowhere,
        })
    end

    --- Record a frame the first time that it is dissected; do nothing for later times.
    -- @param holds the contents of the frame: types and messages of handshakes, alert, lookup (DNS), transfer (TFTP), http
    -- @param learns whether phone configurations are learned from the capture
    local function observe(tvb, pinfo, holds, learns)
        local number = pinfo.number
        if number <= capture.reached and pinfo.visited then
            return
        end
        capture.reached = number
        capture.sent[number], capture.alerts[number], capture.files[number] = nil, nil, nil
        capture.events[number] = nil
        if holds.types then
            observe_handshake(pinfo, holds.types, holds.messages)
        end
        if holds.alert then
            observe_alert(pinfo)
        end
        if holds.lookup then
            observe_dns(pinfo)
        end
        if holds.transfer and learns then
            observe_tftp(holds.transfer, pinfo)
        elseif holds.http and learns then
            observe_http(read.http_body(), tvb, pinfo)
        end
    end

    --- Return the phone configuration that a frame completes, and what else it says of one, and remove both from memory.
    local function take_file(tvb, pinfo)
        local transfer = read.tftp()
        if transfer then
            observe_tftp(transfer, pinfo)
        else
            observe_http(read.http_body(), tvb, pinfo)
        end
        local number = pinfo.number
        local file, event = capture.files[number], capture.events[number]
        capture.files[number], capture.events[number] = nil, nil
        return file, event
    end

    return {
        forget = forget, observe = observe, take_file = take_file, book = book, judge = judge,
        address_text = address_text, endpoint_text = endpoint_text,
        sent = function(number) return capture.sent[number] end,
        refusal = function(number) return capture.alerts[number] end,
        file = function(number) return capture.files[number] end,
        event = function(number) return capture.events[number] end,
        handshakes = function() return capture.handshakes end,
    }
end

return M
