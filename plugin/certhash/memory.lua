-- What the plugin remembers of a capture: handshakes, alerts, phone configurations, and the verdict that follows.
--
-- Frames come once in their order, and then again whenever one is looked at.  What depends on the order (who is the client,
-- what a transfer brought) is found the first time and kept here under the frame's number.  The first time is told by
-- Wireshark's own mark, pinfo.visited, and by the number: the mark is set in the second pass of "tshark -2", whose first
-- shows us no fields, and a frame that a read filter leaves out has the number of the next one.

local M = {}

local KEPT_FILES_BYTES = 64 * 1024 * 1024

-- How many devices are named under a certificate: hundreds of phones may have the same hash.
local MOST_DEVICES = 20

--- Make the memory of a capture.
-- @param needs the modules address, cnf, handshakes, tftp, verdict and visible; frame, what a frame holds; batch, whether
--   nothing is shown; folder_files(), which gives the configurations of the user's folder and what the user states;
--   nowhere(file, servers), whether none of them presents what is stated
-- @return the functions at the end
function M.using(needs)
    local address, cnf, handshakes, tftp = needs.address, needs.cnf, needs.handshakes, needs.tftp
    local verdict, visible, frame = needs.verdict, needs.visible, needs.frame
    local read, TLS, DTLS, endpoints, has = frame.read, frame.tls, frame.dtls, frame.endpoints, frame.has

    local function address_text(endpoint)
        return address.text((handshakes.split(endpoint)))
    end

    local capture

    local function forget()
        capture = {
            reached = 0,  -- the last frame that was observed
            trackers = { [false] = handshakes.new(), [true] = handshakes.new() },  -- by whether it is UDP
            transfers = tftp.new(function(name) return cnf.device(name) ~= nil end),
            book = verdict.new(),
            book_has_folder = false,
            sent = {},        -- frame -> the certificates in it, and the handshake that they belong to
            alerts = {},      -- frame -> the refusal of certificates in it
            handshakes = {},  -- those whose server sent certificates, in their order
            files = {},       -- frame -> configuration file that this frame completes
            files_bytes = 0,
            servers = {},     -- address, port and name -> the chain that a server showed last, false where it showed none
            nowhere = {},     -- file -> whether none of them presents what it states, as far as they are known
        }
    end
    forget()

    -- A server was seen, with its chain or without.
    local function note_server(handshake, chain)
        local server = handshake.server .. (handshake.server_name or "")
        if capture.servers[server] == nil or chain then
            capture.servers[server] = chain or false
            capture.nowhere = {}
        end
    end

    local function nowhere(file)
        if capture.nowhere[file] == nil then
            capture.nowhere[file] = needs.nowhere(file, capture.servers)
        end
        return capture.nowhere[file]
    end

    local function book()
        if not capture.book_has_folder then
            capture.book_has_folder = true
            for _, file in ipairs(needs.folder_files()) do
                capture.book:add(file)
            end
        end
        return capture.book
    end

    local function learn(pinfo, name, content, source, target)
        local number = pinfo.number
        local file = {
            name = visible.text(cnf.base_name(name), 200),
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

    local function observe_tftp(info, pinfo)
        local payload = not frame.quoted() and frame.tftp_payload(info)
        if not payload then
            return
        end
        local request = read.tftp_request()
        if not request then
            capture.transfers:request(pinfo.number, payload)
            return
        end
        local source, target = endpoints(pinfo)
        local done = capture.transfers:packet(request.value, payload, source, target)
        if done then
            learn(pinfo, done.name, done.content, source, target)
        end
    end

    -- A frame may complete several responses.  The one that counts is the only final one (an interim response such as 100
    -- says nothing): of several, which a phone asked for without waiting, Wireshark does not always tell the requests.
    local function final_status()
        local status
        for _, code in ipairs({ read.http_code() }) do
            if code.value >= 200 then
                if status then
                    return nil
                end
                status = code.value
            end
        end
        return status
    end

    -- The body of a response, as the server meant it (chunks joined, compression undone), is what the field's range covers;
    -- its value is text in some versions, and ends at a NUL.
    local function observe_http(info, tvb, pinfo)
        local uri = read.http_response_for() or read.http_uri()
        if not uri or final_status() ~= 200 or tvb:len() < tvb:reported_len() then
            return
        end
        if not cnf.device(uri.value) or not info.range or info.range:len() > tftp.MAX_FILE then
            return
        end
        local content = info.range:bytes():raw()
        local length = read.http_length()
        if length and not read.http_encoding() and tostring(length.value) ~= tostring(#content) then
            return  -- cut short
        end
        -- Where a HEAD and a GET were sent at once, Wireshark takes the second response for the body of the first.
        if content:find("^HTTP/1%.%d %d%d%d") then
            return
        end
        learn(pinfo, uri.value, content, endpoints(pinfo))
    end

    -- A name and its addresses, as an answer of DNS gives them.  Of a chain of aliases it is the name that was asked for.
    -- What else stands in the answer (name servers, mostly) has addresses of its own: a record's name is the last one
    -- before them.
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
        -- What a ClientHello adds is the name it asks for: a URL that becomes known later may be of that name.  The rest of
        -- a handshake says nothing that is needed here.
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
            -- What DTLS sends again, since it was lost, was sent once.
            if not (sent and over_udp and same(sent.chain, chain)) then
                sent = {
                    frame = pinfo.number,
                    time = pinfo.abs_ts,  -- the relative time begins anew at every packet that is marked as a reference
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
            end
            if role ~= "client" then
                note_server(handshake, sent.chain)
            end
            handshake[whose] = sent
            capture.sent[pinfo.number] = sent
        end
    end

    -- An alert answers the other side's certificates; the first one counts.
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

    -- The verdict on the certificates that a server sent; nil for a client's.
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

    --- Take in a frame that comes for the first time; do nothing where it comes again.
    -- @param holds what the frame holds: types and messages of handshakes, alert, lookup (DNS), transfer (TFTP),
    --   body (HTTP)
    -- @param learns whether phone configurations are learned from the capture
    local function observe(tvb, pinfo, holds, learns)
        local number = pinfo.number
        if number <= capture.reached and pinfo.visited then
            return
        end
        capture.reached = number
        capture.sent[number], capture.alerts[number], capture.files[number] = nil, nil, nil
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
        elseif holds.body and learns then
            observe_http(holds.body, tvb, pinfo)
        end
    end

    --- Return the phone configuration that a frame completes, and forget it.
    local function take_file(tvb, pinfo)
        local transfer, body = read.tftp(), read.http_body()
        if transfer then
            observe_tftp(transfer, pinfo)
        elseif body then
            observe_http(body, tvb, pinfo)
        end
        local file = capture.files[pinfo.number]
        capture.files[pinfo.number] = nil
        return file
    end

    return {
        forget = forget, observe = observe, take_file = take_file, book = book, judge = judge, address_text = address_text,
        sent = function(number) return capture.sent[number] end,
        refusal = function(number) return capture.alerts[number] end,
        file = function(number) return capture.files[number] end,
        handshakes = function() return capture.handshakes end,
    }
end

return M
